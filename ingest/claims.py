"""Who works on a lake now: the claims that processes hold, looked at without taking any."""

from __future__ import annotations

import fcntl
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ingest.lake import Key, Lake, claim_offset

# struct flock of <fcntl.h>: type, whence, start, length and pid, in the order of the system.
_FLOCK = "qqihh" if sys.platform == "darwin" else "hhqqi4x"
_MOST_CLAIMS = 10_000


def holders(lake: Lake, source: str, keys: Iterable[Key]) -> dict[Key, int]:
    """Which of these partitions are claimed, and by which process (0: one of another machine).

    A process does not see its own claims, and must hold none: to look ends them.
    """
    held = dict(_held(lake.locks / f"{source}.claims"))
    return {key: held[at] for key in keys if (at := claim_offset(key)) in held} if held else {}


def workers(lake: Lake, source: str) -> set[int]:
    """Processes that hold a claim on a source."""
    return {pid for _, pid in _held(lake.locks / f"{source}.claims")}


def _held(path: Path) -> Iterator[tuple[int, int]]:
    """(offset, pid) of every byte that another process has locked."""
    try:
        handle = path.open("rb")
    except OSError:
        return
    with handle:
        at = 0
        for _ in range(_MOST_CLAIMS):
            asked = _pack(fcntl.F_WRLCK, at)
            kind, start, length, pid = _unpack(fcntl.fcntl(handle, fcntl.F_GETLK, asked))
            if kind == fcntl.F_UNLCK:
                return
            yield start, max(pid, 0)
            at = start + max(length, 1)


def _pack(kind: int, start: int) -> bytes:
    if sys.platform == "darwin":
        return struct.pack(_FLOCK, start, 0, 0, kind, 0)
    return struct.pack(_FLOCK, kind, 0, start, 0, 0)


def _unpack(answer: bytes) -> tuple[int, int, int, int]:
    if sys.platform == "darwin":
        start, length, pid, kind, _ = struct.unpack(_FLOCK, answer)
    else:
        kind, _, start, length, pid = struct.unpack(_FLOCK, answer)
    return kind, start, length, pid
