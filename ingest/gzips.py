"""The bytes in a gzip file, as a stream that nothing is trusted about."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

from isal import igzip, isal_zlib

from ingest.errors import Quarantine

_PIECE = 4 << 20


def open_gzip(path: Path, limit: int) -> io.BufferedReader:
    """Open a gzip file as a byte stream that refuses to exceed ``limit``; nothing goes to disk.

    Raises Quarantine, also from its reads, for what is no gzip file, is damaged, or ends early.
    """
    with path.open("rb") as handle:
        magic = handle.read(64)
    if not magic.startswith(b"\x1f\x8b"):
        start = magic[:40].decode("latin-1").strip()
        raise Quarantine(f"not a gzip file: it begins with {start!r}")
    return io.BufferedReader(_Inflated(path, limit), buffer_size=_PIECE)


class _Inflated(io.RawIOBase):
    """Counts bytes while inflating; CRC and length are checked where the file ends."""

    def __init__(self, path: Path, limit: int) -> None:
        self._file = igzip.IGzipFile(path)  # type: ignore[no-untyped-call]
        self._limit = limit
        self._count = 0

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            count: int = self._file.readinto(buffer)
        except (gzip.BadGzipFile, isal_zlib.error, EOFError) as error:  # type: ignore[misc]
            raise Quarantine(f"damaged gzip: {error}") from error
        self._count += count
        if self._count > self._limit:
            raise Quarantine(f"inflates to more than {self._limit:,} bytes")
        return count
