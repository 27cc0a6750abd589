"""The Binance Vision archive: S3 listing and verified downloads over HTTP."""

from __future__ import annotations

import functools
import re
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from ingest.errors import PerpError, Quarantine
from ingest.sources.downloads import (
    Download,
    FileClient,
    NotFound,
    Retry,
    Transient,
    discard_part,
    file_sha256,
    finish_part,
)

_S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_MAX_LISTING_BYTES = 16 << 20
_MAX_PAGES = 10_000
_CHECKSUM = re.compile(rb"^\s*([0-9a-fA-F]{64})\s+\*?(\S.*?)\s*$")


@dataclass(frozen=True)
class RemoteFile:
    """One zip of the archive as its listing shows it."""

    key: str
    period: str
    etag: str
    last_modified: str
    bytes: int
    checksum_etag: str | None  # None: the archive holds no .CHECKSUM beside it


class VisionArchive(FileClient):
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
        super().__init__(archive_url, connections=connections, retry=retry, on_bytes=on_bytes)
        self.listing_url = listing_url

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
            page, _ = await self.attempts(
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
            self.slots,
            self.client.stream("GET", self.listing_url, params=params) as reply,
        ):
            self.check_status(reply)
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
            if expected and done.exists() and await file_sha256(done) == expected:
                return Download(
                    done, done.stat().st_size, expected, expected,
                    remote.etag, remote.last_modified, attempts,
                )  # fmt: skip
            (etag, modified), tries = await self.fetch(remote.key, part)
            attempts += tries
            digest = await file_sha256(part)
            if expected in (None, digest):
                finish_part(part)
                return Download(
                    done, done.stat().st_size, digest, expected,
                    etag or remote.etag, modified or remote.last_modified, attempts,
                )  # fmt: skip
            if not final:  # the zip or its sidecar may have been replaced between the two requests
                discard_part(part)
        raise ChecksumMismatch(finish_part(part), digest, str(expected), attempts)

    async def _checksum(self, remote: RemoteFile) -> str | None:
        async def get() -> bytes:
            async with self.slots:
                reply = await self.client.get(self.url(f"{remote.key}.CHECKSUM"))
            self.check_status(reply)
            return reply.content[:4096]

        try:
            body, _ = await self.attempts(get, f"{remote.key}.CHECKSUM")
        except NotFound:
            return None
        match = _CHECKSUM.match(body)
        if not match:
            raise Quarantine(f"its .CHECKSUM is malformed: {body[:60]!r}")
        return match[1].decode().lower()


class ChecksumMismatch(Quarantine):
    """The zip is not the one that its sidecar describes."""

    def __init__(self, path: Path, actual: str, expected: str, attempts: int) -> None:
        super().__init__(f"sha256 is {actual}, its .CHECKSUM says {expected}")
        self.path, self.actual, self.expected, self.attempts = path, actual, expected, attempts


def _text(entry: ET.Element, name: str) -> str:
    value = entry.findtext(f"{_S3}{name}")
    if value is None:
        raise Transient(f"a listing entry lacks {name}")
    return value
