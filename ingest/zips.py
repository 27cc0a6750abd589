"""The one CSV in an upstream zip, as a stream of bytes that nothing is trusted about."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from isal import igzip_lib, isal_zlib

from ingest.errors import Quarantine

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_PIECE = 4 << 20
_LONGEST_LINE = 1 << 20


def open_member(path: Path, limit: int) -> CsvMember:
    """Open the single CSV member of a zip as a byte stream that refuses to exceed ``limit``.

    Nothing is extracted to disk. Raises Quarantine for anything but one plain, unencrypted file.
    """
    with path.open("rb") as handle:
        magic = handle.read(64)
    if not magic.startswith(b"PK"):
        start = magic[:40].decode("latin-1").strip()
        raise Quarantine(f"not a zip file: it begins with {start!r}")
    try:
        with zipfile.ZipFile(path) as archive:
            members = [
                m
                for m in archive.infolist()
                if not m.is_dir() and not m.filename.startswith("__MACOSX/")
            ]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise Quarantine(f"damaged zip: {error}") from error
    if len(members) != 1:
        names = ", ".join(m.filename for m in members[:3])
        raise Quarantine(f"expected one file in the zip, found {len(members)}: {names}")
    member = members[0]
    name = PurePosixPath(member.filename)
    if name.name != member.filename or "\\" in member.filename or ".." in name.parts:
        raise Quarantine(f"unsafe member name in the zip: {member.filename!r}")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise Quarantine(f"the zip member {member.filename!r} is a link")
    if member.flag_bits & 0x1:
        raise Quarantine(f"the zip member {member.filename!r} is encrypted")
    if name.suffix.lower() != ".csv":
        raise Quarantine(f"the zip member {member.filename!r} is not a CSV file")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Quarantine(f"the zip member {member.filename!r} is neither stored nor deflated")
    return CsvMember(path, member, limit)


class CsvMember(io.BufferedReader):
    """Inflated bytes of a zip member; its length and CRC are checked when it ends.

    ``path`` is the zip, ``compressed_read`` says how much of it has been consumed.
    """

    def __init__(self, path: Path, member: zipfile.ZipInfo, limit: int) -> None:
        self._inflater = _Inflater(path, member, limit)
        self.path = path
        super().__init__(self._inflater, buffer_size=_PIECE)

    def lines(self, size: int) -> Iterator[bytes]:
        """What is left, in pieces of whole lines and of about ``size`` bytes.

        It comes past the buffer, which saves large files two copies.
        """
        rest = self.read1(_PIECE)
        while data := self._inflater.next_bytes(size):
            end = data.rfind(b"\n") + 1
            if end:
                yield b"".join((rest, memoryview(data)[:end]))
                rest = data[end:]
            else:
                rest += data
            if len(rest) > _LONGEST_LINE:
                raise Quarantine(f"a line of the CSV is longer than {_LONGEST_LINE:,} bytes")
        if rest:
            yield rest

    @property
    def compressed_read(self) -> int:
        """Bytes of the zip consumed so far."""
        return self._inflater.consumed


class _Inflater(io.RawIOBase):
    """Counts bytes while inflating: sizes in the zip's directory can lie."""

    def __init__(self, path: Path, member: zipfile.ZipInfo, limit: int) -> None:
        self._member, self._limit = member, limit
        self._count = self._crc = self.consumed = 0
        self._inflate = (
            igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
            if member.compress_type == zipfile.ZIP_DEFLATED
            else None
        )
        self._file = path.open("rb")
        self._file.seek(member.header_offset)
        header = self._file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\3\4"):
            self._file.close()
            raise Quarantine("damaged zip: the member is not where the directory says")
        _, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        self._file.seek(name_length + extra_length, io.SEEK_CUR)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self.next_bytes(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def next_bytes(self, size: int) -> bytes:
        """Up to ``size`` inflated bytes, none only at the end; there length and CRC are checked."""
        data = self._inflated(size)
        self._count += len(data)
        self._crc = isal_zlib.crc32(data, self._crc)
        if self._count > self._limit:
            raise Quarantine(f"inflates to more than {self._limit:,} bytes")
        if not data and (self._crc, self._count) != (self._member.CRC, self._member.file_size):
            raise Quarantine("damaged zip: Bad CRC-32 or length of the inflated file")
        return data

    def _inflated(self, size: int) -> bytes:
        if self._inflate is None:
            return self._compressed(size)
        try:
            while not self._inflate.eof:
                piece = b""
                if self._inflate.needs_input:
                    piece = self._compressed(_PIECE)
                    if not piece:
                        raise Quarantine("damaged zip: the compressed data ends early")
                if data := self._inflate.decompress(piece, size):
                    return data
        except (isal_zlib.error, EOFError, ValueError) as error:  # type: ignore[misc]
            raise Quarantine(f"damaged zip: {error}") from error
        return b""

    def _compressed(self, size: int) -> bytes:
        piece = self._file.read(min(size, self._member.compress_size - self.consumed))
        self.consumed += len(piece)
        return piece
