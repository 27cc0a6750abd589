"""An S3-compatible object store on loopback, in memory, with faults on demand.

It speaks as much of the protocol as a lake needs: objects whole and by range, copies, listings by
pages, uploads in parts. An object appears when a PUT or an upload in parts has ended, never before.
"""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import threading
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import BinaryIO
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

ACCESS_KEY, SECRET_KEY = "lake-writer", "a-secret-of-tests"
BUCKET = "perp-lake"


@dataclass(frozen=True)
class Asked:
    """One request: ``path`` is ``bucket/key``, ``query`` its decoded parameters."""

    method: str
    path: str
    query: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """What is sent; ``lost`` resets the connection instead."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    lost: bool = False


LOST = Answer(lost=True)
Fault = Callable[[Asked], Answer | None]


def error(status: int, code: str) -> Answer:
    """An error as S3 words it."""
    return Answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())


class ObjectServer:
    """Serves one bucket. Use as a context manager.

    Attributes:
        objects: what is there now, by ``bucket/key``.
        uploads: parts of uploads that have not ended.
        requests: every request so far.
        faults: asked at every request, before it has any effect; the first answer is sent instead.
        after: the same, but once the request has had its effect.
    """

    def __init__(self, page_size: int = 1000) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.requests: list[Asked] = []
        self.faults: list[Fault] = []
        self.after: list[Fault] = []
        self.page_size = page_size
        self.lock = threading.Lock()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> ObjectServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead a client here."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._http.server_address[1]}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "eu-central-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def keys(self, pattern: str = "") -> list[str]:
        """Keys, without the bucket, that a regular expression is found in."""
        with self.lock:
            names = sorted(name.partition("/")[2] for name in self.objects)
        return [name for name in names if re.search(pattern, name)]

    def count(self, method: str, pattern: str = "") -> int:
        """How many requests of a method there were for such keys."""
        asked = [r for r in self.requests if r.method == method and re.search(pattern, r.path)]
        return len(asked)

    def answer(self, asked: Asked, headers: dict[str, str], body: bytes) -> Answer:
        """Do what is asked for."""
        bucket, _, key = asked.path.partition("/")
        if f"Credential={ACCESS_KEY}/" not in headers.get("authorization", ""):
            return error(403, "InvalidAccessKeyId")
        if bucket != BUCKET:
            return error(404, "NoSuchBucket")
        with self.lock:
            if not key:
                return self._listing(asked.query) if asked.method == "GET" else Answer()
            if asked.query.keys() & {"uploads", "uploadId"}:
                return self._in_parts(asked, body)
            if asked.method == "PUT":
                return self._put(asked.path, headers, body)
            if asked.method == "DELETE":
                self.objects.pop(asked.path, None)
                return Answer(204)
            return self._get(asked.path, headers.get("range", ""))

    def _put(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if source := headers.get("x-amz-copy-source"):
            body = self.objects[unquote(source).lstrip("/")]
            self.objects[path] = body
            return Answer(body=f"<CopyObjectResult>{_etag(body)}</CopyObjectResult>".encode())
        self.objects[path] = body
        return Answer(headers=(("ETag", _digest(body)),))

    def _get(self, path: str, wanted: str) -> Answer:
        body = self.objects.get(path)
        if body is None:
            return error(404, "NoSuchKey")
        told = (("ETag", _digest(body)), ("Last-Modified", formatdate(0, usegmt=True)))
        if span := re.fullmatch(r"bytes=(\d+)-(\d*)", wanted):
            first, last = int(span[1]), min(int(span[2] or len(body)), len(body) - 1)
            if first > last:
                return error(416, "InvalidRange")
            whole = (("Content-Range", f"bytes {first}-{last}/{len(body)}"),)
            return Answer(206, body[first : last + 1], told + whole)
        return Answer(200, body, told)

    def _in_parts(self, asked: Asked, body: bytes) -> Answer:
        if "uploads" in asked.query:
            name = str(len(self.requests))
            self.uploads[name] = {}
            return _xml("InitiateMultipartUploadResult", f"<UploadId>{name}</UploadId>")
        parts = self.uploads[asked.query["uploadId"]]
        if asked.method == "PUT":
            parts[int(asked.query["partNumber"])] = body
            return Answer(headers=(("ETag", _digest(body)),))
        del self.uploads[asked.query["uploadId"]]
        if asked.method == "POST":
            whole = b"".join(parts[n] for n in sorted(parts))
            self.objects[asked.path] = whole
            return _xml("CompleteMultipartUploadResult", _etag(whole))
        return Answer(204)

    def _listing(self, query: dict[str, str]) -> Answer:
        """A page of ListObjectsV2; the token is the last entry of the page before."""
        prefix, cut = query.get("prefix", ""), query.get("delimiter", "")
        entries: dict[str, int | None] = {}
        for path, body in self.objects.items():
            key = path.partition("/")[2]
            if not key.startswith(prefix):
                continue
            end = key.find(cut, len(prefix)) if cut else -1
            entries[key if end < 0 else key[: end + 1]] = len(body) if end < 0 else None
        names = sorted(entries)
        start = bisect_right(names, query.get("continuation-token", ""))
        size = min(int(query.get("max-keys", "1000")), self.page_size)
        page = names[start : start + size]
        more = start + size < len(names)
        inner = f"<KeyCount>{len(page)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>"
        if more:
            inner += f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>"
        encoded = quote if query.get("encoding-type") == "url" else escape
        for name in page:
            if entries[name] is None:
                shown = f"<Prefix>{encoded(name)}</Prefix>"
                inner += f"<CommonPrefixes>{shown}</CommonPrefixes>"
            else:
                shown = f"<Key>{encoded(name)}</Key><Size>{entries[name]}</Size>"
                inner += f"<Contents>{shown}</Contents>"
        return _xml("ListBucketResult", inner)


def _xml(root: str, inner: str) -> Answer:
    space = "http://s3.amazonaws.com/doc/2006-03-01/"
    return Answer(body=f'<{root} xmlns="{space}">{inner}</{root}>'.encode())


def _digest(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def _etag(body: bytes) -> str:
    return f"<ETag>{escape(_digest(body))}</ETag>"


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    owner: ObjectServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed, or that a fault cuts off, are part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def _serve(self) -> None:
        server: ObjectServer = self.server.owner  # type: ignore[attr-defined]
        url = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(url.query, keep_blank_values=True).items()}
        asked = Asked(self.command, unquote(url.path).strip("/"), query)
        if url.path.endswith("/") and "/" in asked.path:
            asked = Asked(asked.method, asked.path + "/", query)
        headers = {name.lower(): value for name, value in self.headers.items()}
        with server.lock:
            server.requests.append(asked)
        fault = _first(server.faults, asked)
        body = self._body(headers)
        answer = fault or server.answer(asked, headers, body)
        self._send(fault or _first(server.after, asked) or answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def handle_expect_100(self) -> bool:
        super().handle_expect_100()
        self.wfile.flush()  # else the client waits for it, a second
        return True

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            body = _joined(self.rfile)
        else:
            body = self.rfile.read(int(headers.get("content-length", "0")))
        aws = "aws-chunked" in headers.get("content-encoding", "")
        return _joined(BytesIO(body)) if aws else body

    def _send(self, answer: Answer) -> None:
        if answer.lost:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet: requests are recorded instead."""


def _joined(chunks: BinaryIO) -> bytes:
    """A body that was sent in chunks, each behind its size; trailers are left out."""
    parts = []
    while size := int(chunks.readline().split(b";")[0], 16):
        parts.append(chunks.read(size))
        chunks.readline()
    while chunks.readline().strip():
        pass
    return b"".join(parts)


def _first(faults: list[Fault], asked: Asked) -> Answer | None:
    return next((answer for fault in faults if (answer := fault(asked))), None)
