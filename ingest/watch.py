"""The lake at work: who lands what, how fast, what waits, and what has landed last."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ingest import runlog
from ingest.claims import holders, workers
from ingest.datasets import SOURCES
from ingest.failures import BAD
from ingest.journal import is_written
from ingest.lake import Key, Lake, LandingRecord, LandingState
from ingest.names import decode_symbol
from ingest.progress import duration, size
from ingest.store import local_side

_WINDOW_SECONDS = 60.0  # that rates are taken over
_LAST_LANDINGS = 8
_MOST_WORKERS = 16


@dataclass(frozen=True)
class Work:
    """One partition that a process is landing; ``doing`` names the file, if there is one yet."""

    pid: int
    source: str
    key: Key
    doing: str


@dataclass
class Snapshot:
    """The lake at one moment.

    Args:
        runs: perp commands that run on it, with their last line of progress.
        idle: processes that hold claims on partitions that cannot be named.
        landed: partitions on record that hold data.
        waiting: partitions on record that failed or were quarantined and hold no data.
        bad_files: files on record that failed or are quarantined, by outcome.
        rates: rows, bytes and files a second, over the last minute.
        last: newest landings, the latest first.
        recorder: the state of recorders of the liquidation stream, one line each.
    """

    lake: PurePath
    runs: list[runlog.Run] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)
    idle: int = 0
    landed: int = 0
    waiting: int = 0
    bad_files: Counter[str] = field(default_factory=Counter)
    rates: tuple[float, float, float] = (0.0, 0.0, 0.0)
    last: list[LandingRecord] = field(default_factory=list)
    recorder: list[str] = field(default_factory=list)


class Watcher:
    """Looks at a lake again and again; reads only what its log has grown by."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._states = {source: LandingState(lake.log_folder, source) for source in SOURCES}
        self._records: dict[tuple[str, Key], LandingRecord] = {}
        self._counts: Counter[str] = Counter()
        self._bad: Counter[str] = Counter()
        self._grown: deque[tuple[float, int, int, int]] = deque()
        self._last: deque[LandingRecord] = deque(maxlen=_LAST_LANDINGS)
        self._started: float | None = None

    def look(self) -> Snapshot:
        """The lake now."""
        now = time.monotonic()
        grown = (0, 0, 0)
        for state in self._states.values():
            for record in state.new_records():
                grown = _add(grown, self._take(record))
        if self._started is None:  # what stood there before is no growth
            self._started = now
        else:
            self._grown.append((now, *grown))
        work, idle = self._work()
        return Snapshot(
            self._lake.root,
            runlog.running(runlog.folder_of(self._lake.root)),
            work,
            idle,
            self._counts["landed"],
            self._counts["waiting"],
            +self._bad,
            self._rates(now),
            sorted(self._last, key=lambda r: r.landed_at, reverse=True),
            list(self._recorders()),
        )

    def _take(self, record: LandingRecord) -> tuple[int, int, int]:
        """Count a new record instead of the one before; returns rows, bytes and files it brings."""
        key = record.source, record.key
        before = self._records.get(key)
        if before and before.log_seq > record.log_seq:
            return 0, 0, 0
        if before:
            self._counts[_kind(before)] -= 1
            self._bad -= _bad_files(before)
        self._records[key] = record
        self._counts[_kind(record)] += 1
        self._bad += _bad_files(record)
        if record.spec.made_with:
            return 0, 0, 0
        if record.status == "landed":
            self._last.append(record)
        brought = [f for f in record.files if f.outcome == "landed" and not f.carried]
        rows = record.rows_in if brought else 0
        return rows, sum(f.bytes or 0 for f in brought), len(brought)

    def _rates(self, now: float) -> tuple[float, float, float]:
        while self._grown and now - self._grown[0][0] > _WINDOW_SECONDS:
            self._grown.popleft()
        seconds = min(now - (self._started or now), _WINDOW_SECONDS)
        if seconds <= 0:
            return 0.0, 0.0, 0.0
        rows, size_, files = (sum(g[n] for g in self._grown) for n in (1, 2, 3))
        return rows / seconds, size_ / seconds, files / seconds

    def _work(self) -> tuple[list[Work], int]:
        """Claimed partitions, as far as their names are known, and how many others there are."""
        found: list[Work] = []
        unnamed = 0
        for source in SOURCES:
            pids = workers(self._lake, source)
            if not pids:
                continue
            keys = {k for s, k in self._records if s == source} | set(self._folders(source))
            held = holders(self._lake, source, keys)
            found += [Work(pid, source, key, self._doing(source, key)) for key, pid in held.items()]
            unnamed += len(pids - set(held.values()))
        return sorted(found, key=lambda w: (w.pid, w.key)), unnamed

    def _folders(self, source: str) -> Iterator[Key]:
        """Partitions that something has been downloaded for."""
        for folder in (self._lake.tmp / source).glob("*/*/*"):
            dataset, symbol, month = folder.parts[-3:]
            yield dataset, decode_symbol(symbol), month

    def _doing(self, source: str, key: Key) -> str:
        spec = SOURCES[source][key[0]]
        folders = (
            (local_side(self._lake.partition(spec, *key[1:])).parent, "*.tmp", "writing"),
            (self._lake.downloads(source, key), "*.part", "downloading"),
            (self._lake.downloads(source, key), "*.zip", "reading"),
            (self._lake.downloads(source, key), "*.csv.gz", "reading"),
        )
        for folder, pattern, verb in folders:
            with contextlib.suppress(OSError):
                for path in sorted(folder.glob(pattern)):
                    return f"{verb} {path.name.removesuffix('.part')}, {size(path.stat().st_size)}"
        return ""

    def _recorders(self) -> Iterator[str]:
        for path in sorted((self._lake.tmp / "stream").glob("*.jsonl")):
            with contextlib.suppress(OSError):
                state = path.stat()
                ago = duration(max(time.time() - state.st_mtime, 0))
                pid = path.name.split(".")[1].split("-")[0]
                if is_written(path):
                    yield f"process {pid} records; journal {size(state.st_size)}, last {ago} ago"
                else:
                    yield (
                        f"process {pid} was killed; the next recorder lands its journal "
                        f"({size(state.st_size)})"
                    )


def _add(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _kind(record: LandingRecord) -> str:
    if record.parquet_bytes is not None:
        return "landed"
    return "waiting" if record.status in BAD else "absent"


def _bad_files(record: LandingRecord) -> Counter[str]:
    return Counter(f.outcome for f in record.files if f.outcome in BAD)


# ------------------------------------------------------------------------------------- showing
def lines(now: Snapshot) -> list[str]:
    """A snapshot as plain text: one fact a line."""
    text = [summary(now)]
    text += [f"run {r.pid}: {r.command}: {r.now or 'no progress yet'}" for r in now.runs]
    text += [f"worker {w.pid}: {_name(w.source, w.key)}{_doing(w)}" for w in now.work]
    text += [f"recorder: {line}" for line in now.recorder]
    return text


def summary(now: Snapshot) -> str:
    """The counts of a snapshot on one line."""
    rows, bytes_, files = now.rates
    bad = ", ".join(f"{n:,} files {outcome}" for outcome, n in sorted(now.bad_files.items()))
    return (
        f"{len(now.work) + now.idle} partitions being landed, {now.landed:,} landed, "
        f"{now.waiting:,} waiting{', ' + bad if bad else ''}; "
        f"{rows:,.0f} rows/s, {size(bytes_)}/s, {files:.1f} files/s"
    )


def landing(record: LandingRecord) -> str:
    """A landing as one line of text."""
    return (
        f"landed {record.landed_at[:19]} {_name(record.source, record.key)}: "
        f"{record.rows_out:,} rows, {size(record.parquet_bytes or 0)}"
    )


def screen(now: Snapshot) -> Group:
    """A snapshot for a terminal."""
    parts: list[Text | Table] = [Text(f"{now.lake}    Ctrl-C ends", style="dim")]
    parts.append(Text(summary(now), style="bold"))
    for run in now.runs:
        parts.append(Text(f"{run.command} ({run.pid}): {run.now or 'no progress yet'}"))
    if now.work or now.idle:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in ("process", "source", "dataset", "symbol", "month", "doing"):
            table.add_column(name)
        for work in now.work[:_MOST_WORKERS]:
            table.add_row(str(work.pid), work.source, *work.key, work.doing)
        if len(now.work) > _MOST_WORKERS:
            table.add_row("", "", f"and {len(now.work) - _MOST_WORKERS} more", "", "", "")
        parts.append(table)
    else:
        parts.append(Text("nobody is landing anything"))
    parts += [Text(f"recorder: {line}") for line in now.recorder]
    parts += [Text(landing(record), style="dim") for record in now.last]
    if now.waiting or now.bad_files:
        parts.append(Text("perp status --failed says what went wrong, perp retry tries it again"))
    return Group(*parts)


def _name(source: str, key: Key) -> str:
    return f"{source}/{key[0]} {key[1]} {key[2]}"


def _doing(work: Work) -> str:
    return f": {work.doing}" if work.doing else ""
