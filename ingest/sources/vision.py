"""The Binance Vision archive: S3 listing and verified downloads over HTTP."""

from __future__ import annotations

import asyncio
import email.utils
import functools
import hashlib
import json
import logging
import os
import random
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import httpx

from ingest.errors import PerpError, Quarantine

log = logging.getLogger(__name__)

_S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_MAX_LISTING_BYTES = 16 << 20
_MAX_PAGES = 10_000
_MAX_ZIP_BYTES = 8 << 30
_CHECKSUM = re.compile(rb"^\s*([0-9a-fA-F]{64})\s+\*?(\S.*?)\s*$")
T = TypeVar("T")


@dataclass(frozen=True)
class RemoteFile:
    """One zip of the archive as its listing shows it."""

    key: str
    period: str
    etag: str
    last_modified: str
    bytes: int
    checksum_etag: str | None  # None: the archive holds no .CHECKSUM beside it


@dataclass(frozen=True)
class Download:
    """A zip on this disk, and what was learnt while fetching it."""

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
    """The archive answers 404."""


class Failed(Exception):
    """Attempts are used up, or another one would not help."""

    def __init__(self, text: str, attempts: int) -> None:
        super().__init__(text)
        self.attempts = attempts


class VisionArchive:
    """Client of one archive. Use as an async context manager.

    Args:
        archive_url: address that file keys are appended to.
        listing_url: address of the S3 listing.
        connections: most simultaneous requests.
        on_bytes: called with the size of every piece of a zip that arrives.
    """

    def __init__(
        self,
        archive_url: str,
        listing_url: str,
        *,
        connections: int = 8,
        retry: Retry | None = None,
        on_bytes: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.archive_url = archive_url
        self.listing_url = listing_url
        self.connections = connections
        self.retry = retry or Retry()
        self.on_bytes = on_bytes
        self._slots = asyncio.Semaphore(connections)
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            timeout=httpx.Timeout(60, connect=15),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            headers={"User-Agent": "perp-warehouse"},
        )

    async def __aenter__(self) -> VisionArchive:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    def url(self, key: str) -> str:
        """Address of a key, percent-encoded."""
        return f"{self.archive_url}/{quote(key)}"

    # ------------------------------------------------------------------------------- listing
    async def files(self, prefix: str, name_start: str, after: str) -> list[RemoteFile]:
        """Zips under ``prefix`` named ``{name_start}{period}.zip``, from period ``after`` on."""
        pattern = re.compile(
            re.escape(prefix + name_start) + r"(\d{4}-\d\d(?:-\d\d)?)\.zip(\.CHECKSUM)?"
        )
        zips: dict[str, tuple[str, str, str, int]] = {}
        checksums: dict[str, str] = {}
        async for page in self._pages(prefix, f"{prefix}{name_start}{after}"):
            for entry in page.iter(f"{_S3}Contents"):
                match = pattern.fullmatch(_text(entry, "Key"))
                if not match:
                    continue
                if match[2]:
                    checksums[match[1]] = _text(entry, "ETag").strip('"')
                else:
                    zips[match[1]] = (
                        _text(entry, "Key"),
                        _text(entry, "ETag").strip('"'),
                        _text(entry, "LastModified"),
                        int(_text(entry, "Size")),
                    )
        return [
            RemoteFile(key, period, etag, modified, size, checksums.get(period))
            for period, (key, etag, modified, size) in sorted(zips.items())
        ]

    async def folders(self, prefix: str) -> list[str]:
        """Names of the folders right under ``prefix``."""
        names: list[str] = []
        async for page in self._pages(prefix, None):
            for entry in page.iter(f"{_S3}CommonPrefixes"):
                names.append(_text(entry, "Prefix").removeprefix(prefix).rstrip("/"))
        return names

    async def _pages(self, prefix: str, marker: str | None) -> AsyncIterator[ET.Element]:
        for _ in range(_MAX_PAGES):
            params = {"delimiter": "/", "prefix": prefix, **({"marker": marker} if marker else {})}
            page, _ = await self._attempts(
                functools.partial(self._listing_page, params), f"listing {prefix}"
            )
            yield page
            if (page.findtext(f"{_S3}IsTruncated") or "false").strip() != "true":
                return
            keys = [_text(e, "Key") for e in page.iter(f"{_S3}Contents")]
            following = page.findtext(f"{_S3}NextMarker") or (keys[-1] if keys else None)
            if not following or (marker and following.encode() <= marker.encode()):
                raise PerpError(f"the listing of {prefix} does not advance past {marker!r}")
            marker = following
        raise PerpError(f"the listing of {prefix} has more than {_MAX_PAGES} pages")

    async def _listing_page(self, params: dict[str, str]) -> ET.Element:
        async with (
            self._slots,
            self._client.stream("GET", self.listing_url, params=params) as reply,
        ):
            _check_status(reply)
            body = bytearray()
            async for chunk in reply.aiter_bytes():
                body += chunk
                if len(body) > _MAX_LISTING_BYTES:
                    raise PerpError(f"a listing page of {self.listing_url} exceeds 16 MiB")
        if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
            raise Transient(f"{self.listing_url} did not answer with an S3 listing")
        try:
            root = ET.fromstring(bytes(body))
        except ET.ParseError as error:
            raise Transient(f"{self.listing_url} sent a malformed listing: {error}") from error
        if root.tag != f"{_S3}ListBucketResult":
            raise Transient(f"{self.listing_url} did not answer with an S3 listing")
        return root

    # ------------------------------------------------------------------------------ download
    async def download(self, remote: RemoteFile, folder: Path) -> Download:
        """Fetch a zip and check it against its sidecar.

        The unfinished file is ``<name>.zip.part``; it is resumed only under an unchanged ETag. A
        finished one that an interrupted run has left is not fetched again if its checksum fits.
        Raises NotFound, Failed, or Quarantine when the checksum says that the bytes are wrong.
        """
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{remote.key.rsplit('/', 1)[-1]}.part"
        attempts = 0
        for final in (False, True):
            expected = await self._checksum(remote) if remote.checksum_etag else None
            done = part.with_suffix("")
            if expected and done.exists() and await _sha256(done) == expected:
                return Download(
                    done, done.stat().st_size, expected, expected,
                    remote.etag, remote.last_modified, attempts,
                )  # fmt: skip
            (etag, modified), tries = await self._attempts(
                lambda: self._fetch(remote.key, part), remote.key
            )
            attempts += tries
            digest = await _sha256(part)
            if expected in (None, digest):
                os.replace(part, done)
                _etag_file(part).unlink(missing_ok=True)
                return Download(
                    done, done.stat().st_size, digest, expected,
                    etag or remote.etag, modified or remote.last_modified, attempts,
                )  # fmt: skip
            if not final:  # the zip or its sidecar may have been replaced between the two requests
                discard_part(part)
        kept = part.with_suffix("")
        os.replace(part, kept)
        _etag_file(part).unlink(missing_ok=True)
        raise ChecksumMismatch(kept, digest, str(expected), attempts)

    async def _checksum(self, remote: RemoteFile) -> str | None:
        async def get() -> bytes:
            async with self._slots:
                reply = await self._client.get(self.url(f"{remote.key}.CHECKSUM"))
            _check_status(reply)
            return reply.content[:4096]

        try:
            body, _ = await self._attempts(get, f"{remote.key}.CHECKSUM")
        except NotFound:
            return None
        match = _CHECKSUM.match(body)
        if not match:
            raise Quarantine(f"its .CHECKSUM is malformed: {body[:60]!r}")
        return match[1].decode().lower()

    async def _fetch(self, key: str, part: Path) -> tuple[str, str]:
        """One attempt at one file; returns (etag, last_modified) of the complete ``part``."""
        held, etag = _resumable(part)
        headers = {"Accept-Encoding": "identity"}
        if held:
            headers |= {"Range": f"bytes={held}-", "If-Range": f'"{etag}"'}
        async with (
            self._slots,
            self._client.stream("GET", self.url(key), headers=headers) as reply,
        ):
            if reply.status_code == 416:
                discard_part(part)
                raise Transient("the archive refused to resume the download")
            _check_status(reply)
            sent_etag = reply.headers.get("ETag", "").strip('"')
            if reply.status_code == 206:
                start = re.match(r"bytes (\d+)-", reply.headers.get("Content-Range", ""))
                if sent_etag != etag or not start or int(start[1]) != held:
                    discard_part(part)
                    raise Transient("the file changed while it was being resumed")
            else:
                held = 0
            length = reply.headers.get("Content-Length")
            total = held + int(length) if length else None
            if total and total > _MAX_ZIP_BYTES:
                raise Quarantine(
                    f"is {total:,} bytes long; more than {_MAX_ZIP_BYTES:,} are refused"
                )
            if sent_etag:
                _etag_file(part).write_text(json.dumps({"etag": sent_etag}))
            else:
                _etag_file(part).unlink(missing_ok=True)
            with part.open("ab" if held else "wb") as out:
                async for chunk in reply.aiter_raw():
                    out.write(chunk)
                    self.on_bytes(len(chunk))
                size = out.tell()
            if total is not None and size != total:
                raise Transient(f"the body has {size:,} bytes, {total:,} were announced")
            return sent_etag, _iso(reply.headers.get("Last-Modified"))

    # -------------------------------------------------------------------------------- retries
    async def _attempts(self, once: Callable[[], Awaitable[T]], what: str) -> tuple[T, int]:
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


class ChecksumMismatch(Quarantine):
    """The zip is not the one that its sidecar describes."""

    def __init__(self, path: Path, actual: str, expected: str, attempts: int) -> None:
        super().__init__(f"sha256 is {actual}, its .CHECKSUM says {expected}")
        self.path, self.actual, self.expected, self.attempts = path, actual, expected, attempts


async def _sha256(path: Path) -> str:
    def digest() -> str:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()

    return await asyncio.to_thread(digest)


def discard_part(part: Path) -> None:
    """Forget an unfinished download."""
    part.unlink(missing_ok=True)
    _etag_file(part).unlink(missing_ok=True)


def _etag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _resumable(part: Path) -> tuple[int, str]:
    try:
        return part.stat().st_size, str(json.loads(_etag_file(part).read_text())["etag"])
    except (OSError, ValueError, KeyError):
        return 0, ""


def _check_status(reply: httpx.Response) -> None:
    code = reply.status_code
    if code in (200, 206):
        return
    if code == 404:
        raise NotFound
    if code in (408, 425, 429) or code >= 500:
        raise Transient(f"HTTP {code}", parse_retry_after(reply.headers.get("Retry-After")))
    if 300 <= code < 400:
        raise Failed(f"HTTP {code}: a redirect to {reply.headers.get('Location')} is refused", 1)
    hint = {
        403: "access denied",
        418: "this address is banned for a while",
        451: "not offered in this country",
    }.get(code, "unexpected answer")
    raise Failed(f"HTTP {code}: {hint}", 1)


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


def _text(entry: ET.Element, name: str) -> str:
    value = entry.findtext(f"{_S3}{name}")
    if value is None:
        raise Transient(f"a listing entry lacks {name}")
    return value
