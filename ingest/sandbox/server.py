"""Loopback servers with faults on demand, and the archive: files and S3 listings."""

from __future__ import annotations

import email.utils
import hashlib
import re
import socket
import struct
import sys
import threading
import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True)
class Request:
    """One request: its path decoded and without the first slash, and the status of the answer."""

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


def other_status(code: int) -> Fault:
    """Answer with the usual body under this status."""
    return lambda _, reply: Reply(code, reply.headers, reply.body)


def cut_body(kept: int) -> Fault:
    """Answer with the first ``kept`` bytes as if they were all."""

    def fault(_: _Handler, reply: Reply) -> Reply:
        body = reply.body[:kept]
        return Reply(reply.status, {**reply.headers, "Content-Length": str(len(body))}, body)

    return fault


def late(seconds: float) -> Fault:
    """Answer as usual, but only after a while."""

    def fault(_: _Handler, reply: Reply) -> Reply:
        time.sleep(seconds)
        return reply

    return fault


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


def content(body: bytes, etag: str, headers: dict[str, str], asked: Message) -> Reply:
    """A file, the rest of it that a Range asks for, or 304 to who has it.

    Args:
        headers: what else to say of the file.
        asked: headers of the request.
    """
    quoted = f'"{etag}"'
    headers = {"ETag": quoted, **headers}
    if quoted in asked.get("If-None-Match", "").split(", "):
        return Reply(304, headers, b"")
    code = 200
    part = re.fullmatch(r"bytes=(\d+)-", asked.get("Range", ""))
    if part and asked.get("If-Range", quoted) == quoted:
        start = int(part[1])
        if start >= len(body):
            return Reply(416, {"Content-Length": "0"}, b"")
        headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        code, body = 206, body[start:]
    headers["Content-Length"] = str(len(body))
    return Reply(code, headers, body)


class LoopbackServer(ABC):
    """Serves HTTP on 127.0.0.1. Use as a context manager.

    Attributes:
        faults: per decoded path without its first slash, faults for the next requests, one each; a
            fault put under ``always`` answers every request of its path.
        requests: every request so far.
    """

    def __init__(self, *, port: int = 0) -> None:
        self.faults: dict[str, list[Fault]] = {}
        self.always: dict[str, Fault] = {}
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        self._http = _Http(("127.0.0.1", port), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
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
    def url(self) -> str:
        """Address of the server, without a slash at its end."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def statuses(self) -> Counter[int]:
        """How many answers of each status were sent so far."""
        with self.lock:
            return Counter(r.status for r in self.requests)

    @abstractmethod
    def answer(self, path: str, query: str, headers: Message) -> Reply:
        """What to send, if no fault changes it; called from several threads."""


class ArchiveServer(LoopbackServer):
    """Serves a folder of archive keys.

    Args:
        root: folder whose relative paths are the keys; files may change while it serves.
        page_size: most entries of a listing page.
    """

    def __init__(self, root: Path, *, page_size: int = 1000, port: int = 0) -> None:
        super().__init__(port=port)
        self.root = root.resolve()
        self.page_size = page_size
        self._etags: dict[Path, tuple[int, int, str]] = {}
        self._keys: list[bytes] | None = None

    @property
    def archive_url(self) -> str:
        """Address of the files."""
        return self.url

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

    def answer(self, path: str, query: str, headers: Message) -> Reply:
        """The listing, a file or part of it, or 404."""
        if path != "listing":
            return self._file(path, headers)
        asked = {k: v[0] for k, v in parse_qs(query).items()}
        body = self.listing(
            asked.get("prefix", ""),
            asked.get("delimiter", ""),
            asked.get("marker", ""),
            int(asked.get("max-keys", "1000")),
        )
        return Reply(
            200, {"Content-Type": "application/xml", "Content-Length": str(len(body))}, body
        )

    def _file(self, key: str, asked: Message) -> Reply:
        path = self.file(key)
        if path is None:
            body = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>"
            headers = {"Content-Type": "application/xml", "Content-Length": str(len(body))}
            return Reply(404, headers, body)
        headers = {
            "Last-Modified": email.utils.formatdate(path.stat().st_mtime, usegmt=True),
            "Content-Type": "binary/octet-stream",
        }
        return content(path.read_bytes(), self.etag(path), headers, asked)

    def keys(self) -> list[bytes]:
        """All keys in the order of their bytes."""
        if self._keys is None:
            files = (p for p in self.root.rglob("*") if p.is_file())
            self._keys = sorted(p.relative_to(self.root).as_posix().encode() for p in files)
        return self._keys

    def listing(self, prefix: str, delimiter: str, marker: str, max_keys: int) -> bytes:
        """One page of ListBucketResult."""
        start, after, cut = prefix.encode(), marker.encode(), delimiter.encode()
        limit = min(max_keys, self.page_size)
        entries: list[tuple[bytes, bool]] = []
        keys = self.keys()
        at = bisect_left(keys, max(start, after))
        while at < len(keys) and keys[at].startswith(start) and len(entries) <= limit:
            key = keys[at]
            end = key.find(cut, len(start)) if cut else -1
            if end < 0:
                entry, at = (key, False), at + 1
            else:
                folder = key[: end + len(cut)]
                entry = (folder, True)
                at = bisect_left(keys, folder[:-1] + bytes([folder[-1] + 1]), at)  # behind it
            if entry[0] > after and not (entry[1] and after.startswith(entry[0])):
                entries.append(entry)
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
        stat = path.stat()
        modified = datetime.fromtimestamp(int(stat.st_mtime), UTC)
        return (
            f"<Contents><Key>{escape(key)}</Key>"
            f"<LastModified>{modified:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"
            f"<ETag>&quot;{self.etag(path)}&quot;</ETag><Size>{stat.st_size}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    owner: LoopbackServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up, or are reset by a fault, are part of the game."""
        if not isinstance(sys.exc_info()[1], (OSError, ValueError)):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def do_GET(self) -> None:
        server: LoopbackServer = self.server.owner  # type: ignore[attr-defined]
        url = urlsplit(self.path)
        path = unquote(url.path).lstrip("/")
        reply = server.answer(path, url.query, self.headers)
        with server.lock:
            waiting = server.faults.get(path)
            fault = waiting.pop(0) if waiting else server.always.get(path)
        changed = fault(self, reply) if fault else reply
        sent = changed or reply
        with server.lock:
            server.requests.append(
                Request("GET", path, url.query, self.headers.get("Range"), sent.status)
            )
        if changed:
            self.send_reply(changed)

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
