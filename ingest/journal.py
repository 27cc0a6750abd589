"""The journal of a recorder: what it has received and not yet folded into the lake.

A journal is a file of JSON lines that one process appends to and keeps locked while it lives. What
has been synced is acknowledged. Each sync is one write, orders before the coverage that they prove,
so wherever a killed writer stopped, no line that can be read claims more than the lines before it
hold.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest.datasets import Dataset
from ingest.sources.force_order import Row
from ingest.spans import Span
from ingest.store import fsync_folder, temporary


class Journal:
    """A journal being written.

    Args:
        path: the new file; it appears there already locked.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.orders = 0
        self._waiting: list[dict[str, Any]] = []
        tmp = temporary(path)
        self._fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        os.replace(tmp, path)
        fsync_folder(path.parent)

    def order(self, row: Row) -> None:
        """An order has arrived."""
        self.orders += 1
        self._waiting.append({"order": row})

    def covered(self, connection: str, since: datetime, until: datetime) -> None:
        """A connection was up; the last word on a connection and start holds."""
        self._waiting.append({"connection": connection, "since": since, "until": until})

    def malformed(self, received: datetime, text: str) -> None:
        """A message was no order."""
        self._waiting.append({"malformed": text, "received": received})

    def sync(self) -> None:
        """Acknowledge everything so far: returns when it is on disk. Raises OSError."""
        if not self._waiting:
            return
        lines = [json.dumps(x, default=datetime.isoformat) + "\n" for x in self._waiting]
        data = "".join(lines).encode()
        while data:
            data = data[os.write(self._fd, data) :]
        os.fsync(self._fd)
        self._waiting.clear()

    def close(self) -> None:
        """Let go of the file, once."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@dataclass
class Recorded:
    """What a journal holds."""

    bytes: int
    sha256: str
    rows: list[Row] = field(default_factory=list)
    spans: dict[tuple[str, str], Span] = field(default_factory=dict)
    malformed: int = 0
    torn: int = 0  # bytes behind the last line that can be read; never acknowledged

    def table(self, dataset: Dataset) -> pa.Table:
        """The orders in the dataset's schema."""
        return pa.Table.from_pylist(self.rows, dataset.schema)


def read_journal(path: Path, dataset: Dataset) -> Recorded:
    """Read a journal up to the first line that its writer did not finish."""
    data = path.read_bytes()
    recorded = Recorded(len(data), hashlib.sha256(data).hexdigest())
    times = [f.name for f in dataset.schema if pa.types.is_timestamp(f.type)]
    read_to = 0
    for line in data.splitlines(keepends=True):
        try:
            if not line.endswith(b"\n"):
                break
            _read_line(json.loads(line), times, recorded)
        except (ValueError, KeyError, TypeError):
            break
        read_to += len(line)
    recorded.torn = len(data) - read_to
    return recorded


def _read_line(entry: dict[str, Any], times: list[str], recorded: Recorded) -> None:
    if "order" in entry:
        row = entry["order"]
        recorded.rows.append(row | {t: datetime.fromisoformat(row[t]) for t in times})
    elif "malformed" in entry:
        recorded.malformed += 1
    else:
        span = datetime.fromisoformat(entry["since"]), datetime.fromisoformat(entry["until"])
        recorded.spans[entry["connection"], entry["since"]] = span


def abandoned(folder: Path) -> Iterator[Path]:
    """Journals whose writers are dead, each locked while it is the caller's turn."""
    for path in sorted(folder.glob("*.jsonl")):
        with _locked(path) as ours:
            if ours:
                yield path


def is_written(path: Path) -> bool:
    """Whether the writer of a journal lives."""
    with _locked(path) as ours:
        return not ours and path.exists()


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Lock a journal; yields False if its writer lives or another process has taken care of it."""
    with contextlib.ExitStack() as stack:
        try:
            handle = stack.enter_context(path.open("rb"))
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (FileNotFoundError, BlockingIOError):
            yield False
        else:
            yield path.exists()


def remove(path: Path) -> None:
    """Remove a journal that is in the lake."""
    path.unlink()
    fsync_folder(path.parent)
