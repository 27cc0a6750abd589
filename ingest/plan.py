"""What to do: upstream listing x landing log -> tasks. Pure functions, no I/O.

A partition (dataset, symbol, month) is up to date when every upstream file that matters to it has
been dealt with under its present ETags. The monthly file matters; daily files matter for the days
that the monthly one lacks, and all of them where there is no monthly file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

from ingest.lake import PARSER_VERSION, FileRecord, LandingRecord
from ingest.names import months
from ingest.sources.vision import RemoteFile

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Upstream:
    """Files of one (dataset, symbol) as listed, by period."""

    monthly: Mapping[str, RemoteFile] = field(default_factory=dict)
    daily: Mapping[str, RemoteFile] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One partition to land.

    Args:
        monthly: monthly file to read, if it is listed and not up to date.
        daily: daily files that may be needed, by day; those for days that turn out complete in the
            monthly file are not downloaded.
        previous: newest log record of the partition, if any.
    """

    dataset: str
    symbol: str
    month: str
    monthly: RemoteFile | None
    daily: Mapping[str, RemoteFile]
    previous: LandingRecord | None


@dataclass(frozen=True)
class Plan:
    """Tasks, partitions that upstream does not have (not yet on record), and those up to date."""

    tasks: tuple[Task, ...]
    absent: tuple[Key, ...]
    up_to_date: int
    known_bad: tuple[FileRecord, ...]  # quarantined files that upstream has not replaced


def make_plan(
    upstream: Mapping[tuple[str, str], Upstream],
    state: Mapping[Key, LandingRecord],
    start: date,
    end: date,
    *,
    is_intact: Callable[[LandingRecord], bool],
    retry_quarantined: bool = False,
) -> Plan:
    """Plan the partitions of every listed (dataset, symbol) for the days ``start`` to ``end``.

    Tasks come in the order symbol, month, dataset, so that a run cut short leaves whole symbols.
    """
    tasks: list[Task] = []
    absent: list[Key] = []
    bad: list[FileRecord] = []
    up_to_date = 0
    for month in months(start, end):
        for (dataset, symbol), files in upstream.items():
            key = (dataset, symbol, month)
            record = state.get(key)
            held = {f.period for f in record.files} if record else set()
            daily = {
                day: file
                for day, file in files.daily.items()
                if day[:7] == month and (start.isoformat() <= day <= end.isoformat() or day in held)
            }
            task = _task(key, files.monthly.get(month), daily, record, is_intact, retry_quarantined)
            if task is not None and (task.monthly or task.daily):
                tasks.append(task)
            elif task is None:
                up_to_date += 1
                bad += [f for f in (record.files if record else []) if f.outcome == "quarantined"]
            elif record is None:
                absent.append(key)
    tasks.sort(key=lambda t: (t.symbol, t.month, t.dataset))
    return Plan(tuple(tasks), tuple(absent), up_to_date, tuple(bad))


def _task(
    key: Key,
    monthly: RemoteFile | None,
    daily: Mapping[str, RemoteFile],
    record: LandingRecord | None,
    is_intact: Callable[[LandingRecord], bool],
    retry_quarantined: bool,
) -> Task | None:
    """The task for a partition, or None if it is up to date (absent upstream included)."""
    everything = Task(*key, monthly, daily, record)
    if record is None:
        return everything
    if record.status == "absent_upstream" and not monthly and not daily:
        return None
    stale = record.parser_version != PARSER_VERSION
    damaged = record.parquet_bytes is not None and not is_intact(record)
    if stale or damaged:
        # Nothing of the old file can be reused: every file is read again.
        return Task(*key, monthly, daily, None) if monthly or daily else None
    settled = ("landed",) if retry_quarantined else ("landed", "quarantined")
    seen = {(f.period, f.etag, f.checksum_etag) for f in record.files if f.outcome in settled}

    def is_new(file: RemoteFile) -> bool:
        return (file.period, file.etag, file.checksum_etag) not in seen

    if monthly and is_new(monthly):
        return everything
    has_month = any(f.outcome == "landed" and len(f.period) == 7 for f in record.files)
    needed = {d: f for d, f in daily.items() if not has_month or d in record.deficient_days}
    if not any(is_new(file) for file in needed.values()):
        return None
    # A repair of a monthly file is made from that file again, so that it equals a full landing.
    return Task(*key, monthly if has_month else None, needed, record)
