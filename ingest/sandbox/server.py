"""A loopback archive: files and S3 listings as the real one serves them, and faults on demand."""

from __future__ import annotations

import email.utils
import hashlib
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True)
class Request:
    """One request as it arrived: path is the decoded key, status what was answered."""

    method: str
    path: str
    query: str
    range: str | None
    status: int


@dataclass(frozen=True)
class Reply:
    """What would be sent; a fault may change it, or take over the connection."""

    status: int
    headers: dict[str, str]
    body: bytes


Fault = Callable[["_Handler", Reply], Reply | None]


def status(code: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Fault:
    """Answer with this status."""
    return lambda _, __: Reply(code, {"Content-Length": str(len(body)), **(headers or {})}, body)


def replaced_body(body: bytes, headers: dict[str, str] | None = None) -> Fault:
    """Answer 200 with other content (an HTML error page, say) and no ETag."""
    return status(200, headers, body)


def short_body(sent: int) -> Fault:
    """Announce the whole length, send ``sent`` bytes and close."""

    def fault(handler: _Handler, reply: Reply) -> None:
        handler.send_reply(Reply(reply.status, reply.headers, reply.body[:sent]))
        handler.close_connection = True

    return fault


def long_body(extra: int) -> Fault:
    """Send more bytes than announced."""

    def fault(handler: _Handler, reply: Reply) -> None:
        handler.send_reply(Reply(reply.status, reply.headers, reply.body + bytes(extra)))
        handler.close_connection = True

    return fault


def reset(sent: int = 0) -> Fault:
    """Send ``sent`` bytes of the body and reset the connection."""

    def fault(handler: _Handler, reply: Reply) -> None:
        if sent:
            handler.send_reply(Reply(reply.status, reply.headers, reply.body[:sent]))
            handler.wfile.flush()
            time.sleep(0.05)
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.connection.close()
        handler.close_connection = True

    return fault


def new_etag(etag: str) -> Fault:
    """Answer as usual but under another ETag, as after a replacement in between."""
    return lambda _, reply: Reply(reply.status, {**reply.headers, "ETag": f'"{etag}"'}, reply.body)


def trickle(chunk: int, seconds: float) -> Fault:
    """Send the body in pieces with pauses."""

    def fault(handler: _Handler, reply: Reply) -> None:
        handler.send_reply(Reply(reply.status, reply.headers, b""))
        for start in range(0, len(reply.body), chunk):
            handler.wfile.write(reply.body[start : start + chunk])
            handler.wfile.flush()
            time.sleep(seconds)

    return fault


class ArchiveServer:
    """Serves a folder of archive keys on 127.0.0.1. Use as a context manager.

    Args:
        root: folder whose relative paths are the keys; files may change while it serves.
        page_size: most entries of a listing page.

    Attributes:
        faults: per decoded path, faults for the next requests, one each; a fault put under
            ``always`` answers every request of its path.
        requests: every request so far.
    """

    def __init__(self, root: Path, *, page_size: int = 1000, port: int = 0) -> None:
        self.root = root.resolve()
        self.page_size = page_size
        self.faults: dict[str, list[Fault]] = {}
        self.always: dict[str, Fault] = {}
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        self._etags: dict[Path, tuple[int, int, str]] = {}
        self._keys: list[bytes] | None = None
        self._http = _Http(("127.0.0.1", port), _Handler)
        self._http.archive = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> ArchiveServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def archive_url(self) -> str:
        """Address of the files."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def listing_url(self) -> str:
        """Address of the listing."""
        return f"{self.archive_url}/listing"

    @property
    def downloads(self) -> list[str]:
        """Keys of all zips asked for, in order."""
        with self.lock:
            return [r.path for r in self.requests if r.path.endswith(".zip")]

    def refresh(self) -> None:
        """Look at the folder again: keys were added or removed."""
        self._keys = None

    def file(self, key: str) -> Path | None:
        """The file behind a key, or None."""
        path = (self.root / key).resolve()
        return path if path.is_relative_to(self.root) and path.is_file() else None

    def etag(self, path: Path) -> str:
        """MD5 of the content, as S3 does for objects stored in one piece."""
        stat = path.stat()
        known = self._etags.get(path)
        if known and known[:2] == (stat.st_mtime_ns, stat.st_size):
            return known[2]
        digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        self._etags[path] = (stat.st_mtime_ns, stat.st_size, digest)
        return digest

    def keys(self) -> list[bytes]:
        """All keys in the order of their bytes."""
        if self._keys is None:
            files = (p for p in self.root.rglob("*") if p.is_file())
            self._keys = sorted(p.relative_to(self.root).as_posix().encode() for p in files)
        return self._keys

    def listing(self, prefix: str, delimiter: str, marker: str, max_keys: int) -> bytes:
        """One page of ListBucketResult."""
        start, after = prefix.encode(), marker.encode()
        entries: list[tuple[bytes, bool]] = []
        seen: set[bytes] = set()
        for key in self.keys():
            if not key.startswith(start):
                continue
            end = key.find(delimiter.encode(), len(start)) if delimiter else -1
            entry = (key, False) if end < 0 else (key[: end + 1], True)
            if entry[0] <= after or entry[0] in seen or (entry[1] and after.startswith(entry[0])):
                continue
            seen.add(entry[0])
            entries.append(entry)
        limit = min(max_keys, self.page_size)
        page, truncated = entries[:limit], len(entries) > limit
        parts = [
            f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{_NAMESPACE}">',
            f"<Name>archive</Name><Prefix>{escape(prefix)}</Prefix><Marker>{escape(marker)}</Marker>",
        ]
        if truncated and delimiter:
            parts.append(f"<NextMarker>{escape(page[-1][0].decode())}</NextMarker>")
        parts.append(
            f"<MaxKeys>{max_keys}</MaxKeys><IsTruncated>{str(truncated).lower()}</IsTruncated>"
        )
        parts += [self._contents(key.decode()) for key, is_folder in page if not is_folder]
        parts += [
            f"<CommonPrefixes><Prefix>{escape(key.decode())}</Prefix></CommonPrefixes>"
            for key, is_folder in page
            if is_folder
        ]
        return "".join([*parts, "</ListBucketResult>"]).encode()

    def _contents(self, key: str) -> str:
        path = self.root / key
        modified = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
        return (
            f"<Contents><Key>{escape(key)}</Key>"
            f"<LastModified>{modified:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"
            f"<ETag>&quot;{self.etag(path)}&quot;</ETag><Size>{path.stat().st_size}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    archive: ArchiveServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up, or are reset by a fault, are part of the game."""
        if not isinstance(sys.exc_info()[1], (OSError, ValueError)):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def do_GET(self) -> None:
        server: ArchiveServer = self.server.archive  # type: ignore[attr-defined]
        url = urlsplit(self.path)
        key = unquote(url.path).lstrip("/")
        if key == "listing":
            query = {k: v[0] for k, v in parse_qs(url.query).items()}
            body = server.listing(
                query.get("prefix", ""),
                query.get("delimiter", ""),
                query.get("marker", ""),
                int(query.get("max-keys", "1000")),
            )
            headers = {"Content-Type": "application/xml", "Content-Length": str(len(body))}
            reply = Reply(200, headers, body)
        else:
            reply = self._file(server, key)
        with server.lock:
            waiting = server.faults.get(key)
            fault = waiting.pop(0) if waiting else server.always.get(key)
        changed = fault(self, reply) if fault else reply
        sent = changed or reply
        with server.lock:
            server.requests.append(
                Request("GET", key, url.query, self.headers.get("Range"), sent.status)
            )
        if changed:
            self.send_reply(changed)

    def _file(self, server: ArchiveServer, key: str) -> Reply:
        path = server.file(key)
        if path is None:
            body = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>"
            headers = {"Content-Type": "application/xml", "Content-Length": str(len(body))}
            return Reply(404, headers, body)
        body = path.read_bytes()
        etag = f'"{server.etag(path)}"'
        headers = {
            "ETag": etag,
            "Last-Modified": email.utils.formatdate(path.stat().st_mtime, usegmt=True),
            "Content-Type": "binary/octet-stream",
        }
        code = 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range", etag) == etag:
            start = int(asked[1])
            if start >= len(body):
                return Reply(416, {"Content-Length": "0"}, b"")
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            code, body = 206, body[start:]
        headers["Content-Length"] = str(len(body))
        return Reply(code, headers, body)

    def send_reply(self, reply: Reply) -> None:
        """Send status, headers and body as they are."""
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet: requests are recorded instead."""
