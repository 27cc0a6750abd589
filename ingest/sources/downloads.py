"""Downloads over HTTP: retries, resumption and refusals, for every source that serves files."""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import json
import logging
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Self, TypeVar
from urllib.parse import quote

import httpx

from ingest.errors import Quarantine

log = logging.getLogger(__name__)

_MAX_FILE_BYTES = 8 << 30
T = TypeVar("T")


@dataclass(frozen=True)
class Download:
    """A file on this disk, and what was learnt while fetching it."""

    path: Path
    bytes: int
    sha256: str
    sha256_expected: str | None
    etag: str
    last_modified: str
    attempts: int


@dataclass(frozen=True)
class Retry:
    """How often and how patiently a request is repeated."""

    attempts: int = 5
    base_seconds: float = 1.0
    max_seconds: float = 120.0

    def wait(self, attempt: int, retry_after: float | None) -> float:
        """Seconds before the next attempt: what the server asks for, else exponential."""
        if retry_after is not None:
            return min(retry_after, self.max_seconds)
        backoff = min(self.base_seconds * float(1 << attempt), self.max_seconds)
        return backoff * random.uniform(0.5, 1.0)


class Transient(Exception):
    """A failure that another attempt may cure."""

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class NotFound(Exception):
    """The server answers 404."""


class NotModified(Exception):
    """The server answers 304: it still has an edition that it was told of, the one of ``etag``."""

    def __init__(self, etag: str) -> None:
        super().__init__(etag)
        self.etag = etag


class Failed(Exception):
    """Attempts are used up, or another one would not help."""

    def __init__(self, text: str, attempts: int) -> None:
        super().__init__(text)
        self.attempts = attempts


class FileClient:
    """Client of a server of files. Use as an async context manager.

    Args:
        url: address that file keys are appended to.
        connections: most simultaneous requests.
        on_bytes: called with the size of every piece of a file that arrives.
        headers: sent with every request. Redirects are refused, so no other host sees them.

    Attributes:
        answered: whether the server has answered anything yet.
    """

    accept_encoding: ClassVar[str] = "identity"

    def __init__(
        self,
        url: str,
        *,
        connections: int = 8,
        retry: Retry | None = None,
        on_bytes: Callable[[int], None] = lambda _: None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.base_url = url
        self.connections = connections
        self.retry = retry or Retry()
        self.on_bytes = on_bytes
        self.answered = False
        self.slots = asyncio.Semaphore(connections)
        self.client = httpx.AsyncClient(
            follow_redirects=False,
            timeout=httpx.Timeout(60, connect=15),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            headers={"User-Agent": "perp-warehouse", **(headers or {})},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    def url(self, key: str) -> str:
        """Address of a key, percent-encoded."""
        return f"{self.base_url}/{quote(key)}"

    async def fetch(
        self, key: str, part: Path, known: Collection[str] = ()
    ) -> tuple[tuple[str, str], int]:
        """Fetch a file to ``part``, resuming what is there only under an unchanged ETag.

        Args:
            known: ETags of editions that are not wanted again.

        Returns:
            (ETag, Last-Modified) of the complete file, and the number of attempts. Raises NotFound,
            NotModified, Failed, or Quarantine for a file that is too long.
        """
        return await self.attempts(lambda: self._fetch(key, part, known), key)

    async def _fetch(self, key: str, part: Path, known: Collection[str]) -> tuple[str, str]:
        held, etag = _resumable(part)
        headers = {"Accept-Encoding": self.accept_encoding}
        if held:
            headers |= {"Range": f"bytes={held}-", "If-Range": f'"{etag}"'}
        elif known:
            headers["If-None-Match"] = ", ".join(f'"{tag}"' for tag in sorted(known))
        async with (
            self.slots,
            self.client.stream("GET", self.url(key), headers=headers) as reply,
        ):
            if reply.status_code == 416:
                discard_part(part)
                raise Transient("the server refused to resume the download")
            self.check_status(reply)
            sent_etag = _etag(reply)
            if reply.status_code == 206:
                start = re.match(r"bytes (\d+)-", reply.headers.get("Content-Range", ""))
                if sent_etag != etag or not start or int(start[1]) != held:
                    discard_part(part)
                    raise Transient("the file changed while it was being resumed")
            else:
                held = 0
            length = reply.headers.get("Content-Length")
            total = held + int(length) if length else None
            if total and total > _MAX_FILE_BYTES:
                raise Quarantine(
                    f"is {total:,} bytes long; more than {_MAX_FILE_BYTES:,} are refused"
                )
            if sent_etag and not reply.headers["ETag"].startswith("W/"):
                _etag_file(part).write_text(json.dumps({"etag": sent_etag}))
            else:
                _etag_file(part).unlink(missing_ok=True)
            with part.open("ab" if held else "wb") as out:
                async for chunk in reply.aiter_raw():
                    out.write(chunk)
                    self.on_bytes(len(chunk))
                    if total is None and out.tell() > _MAX_FILE_BYTES:
                        raise Quarantine(f"is longer than {_MAX_FILE_BYTES:,} bytes")
                size = out.tell()
            if total is not None and size != total:
                raise Transient(f"the body has {size:,} bytes, {total:,} were announced")
            return sent_etag, _iso(reply.headers.get("Last-Modified"))

    async def attempts(self, once: Callable[[], Awaitable[T]], what: str) -> tuple[T, int]:
        """Do something until it succeeds; returns its result and the number of attempts."""
        for attempt in range(self.retry.attempts):
            try:
                return await once(), attempt + 1
            except (Transient, httpx.TransportError) as error:
                reason = str(error) or type(error).__name__
                if attempt + 1 == self.retry.attempts:
                    raise Failed(f"{reason} ({attempt + 1} attempts)", attempt + 1) from error
                asked = error.retry_after if isinstance(error, Transient) else None
                wait = self.retry.wait(attempt, asked)
                log.info("%s: %s; next attempt in %.1f s", what, reason, wait)
                await asyncio.sleep(wait)
        raise AssertionError("Retry.attempts is at least 1")

    def check_status(self, reply: httpx.Response) -> None:
        """Raise what an answer's status means, unless it brings a body that was asked for."""
        self.answered = True
        code = reply.status_code
        if code in (200, 206):
            return
        if code == 304:
            raise NotModified(_etag(reply))
        if code == 404:
            raise NotFound
        if code in (408, 425, 429) or code >= 500:
            raise Transient(f"HTTP {code}", parse_retry_after(reply.headers.get("Retry-After")))
        if 300 <= code < 400:
            raise Failed(
                f"HTTP {code}: a redirect to {reply.headers.get('Location')} is refused", 1
            )
        raise Failed(f"HTTP {code}: {self.refusal(code)}", 1)

    def refusal(self, code: int) -> str:
        """What a status that no further attempt would change means to the user."""
        return {
            403: "access denied",
            418: "this address is banned for a while",
            451: "not offered in this country",
        }.get(code, "unexpected answer")


async def file_sha256(path: Path) -> str:
    """Hex digest of a file, computed in a thread."""

    def digest() -> str:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()

    return await asyncio.to_thread(digest)


def finish_part(part: Path) -> Path:
    """Give a complete download its name, without ``.part``."""
    done = part.with_suffix("")
    os.replace(part, done)
    _etag_file(part).unlink(missing_ok=True)
    return done


def discard_part(part: Path) -> None:
    """Forget an unfinished download."""
    part.unlink(missing_ok=True)
    _etag_file(part).unlink(missing_ok=True)


def _etag_file(part: Path) -> Path:
    """Where the ETag of an unfinished download is kept."""
    return part.with_name(f"{part.name}.etag")


def _etag(reply: httpx.Response) -> str:
    return str(reply.headers.get("ETag", "")).removeprefix("W/").strip('"')


def _resumable(part: Path) -> tuple[int, str]:
    try:
        return part.stat().st_size, str(json.loads(_etag_file(part).read_text())["etag"])
    except (OSError, ValueError, KeyError):
        return 0, ""


def parse_retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, in either of its forms."""
    if value is None:
        return None
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return None


def _iso(http_date: str | None) -> str:
    if not http_date:
        return ""
    try:
        stamp = email.utils.parsedate_to_datetime(http_date)
    except ValueError:
        return ""
    return datetime.fromtimestamp(stamp.timestamp(), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
