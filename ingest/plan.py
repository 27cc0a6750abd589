"""What to do: upstream listing x landing log -> tasks. Pure functions, no I/O.

A partition (dataset, symbol, month) is up to date when every upstream file that matters to it has
been dealt with under its present ETags. The monthly file matters; daily files matter for the days
that the monthly one lacks, and all of them where there is no monthly file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from ingest.lake import PARSER_VERSION, FileRecord, LandingRecord
from ingest.names import month_bounds, months
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
    first_day: str
    last_day: str


@dataclass(frozen=True)
class Plan:
    """What a run has to do.

    Args:
        tasks: partitions to land.
        facts: records that need no download: partitions that upstream lacks, and partitions that
            are up to date but were asked for over more days than before.
        up_to_date: partitions with nothing to do.
        known_bad: quarantined files that upstream has not replaced.
    """

    tasks: tuple[Task, ...]
    facts: tuple[LandingRecord, ...]
    up_to_date: int
    known_bad: tuple[FileRecord, ...]


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
    facts: list[LandingRecord] = []
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
            asked = _asked(month, start, end, files.monthly.get(month) is not None, record)
            needs = _needs(files.monthly.get(month), daily, record, is_intact, retry_quarantined)
            if needs is not None:
                tasks.append(Task(*key, *needs, *asked))
                continue
            if record is None:
                fact = LandingRecord("vision", *key, "absent_upstream", *asked)
                facts.append(fact)
                continue
            up_to_date += 1
            bad += [f for f in record.files if f.outcome == "quarantined"]
            if (record.first_day, record.last_day) != asked:
                files_held = [replace(f, carried=True) for f in record.files]
                facts.append(
                    replace(record, first_day=asked[0], last_day=asked[1], files=files_held)
                )
    tasks.sort(key=lambda t: (t.symbol, t.month, t.dataset))
    return Plan(tuple(tasks), tuple(facts), up_to_date, tuple(bad))


def _asked(
    month: str, start: date, end: date, has_month: bool, record: LandingRecord | None
) -> tuple[str, str]:
    """First and last day of the month that have been asked for, now or before."""
    first, after = month_bounds(month)
    last = after - timedelta(days=1)
    if has_month:
        return first.isoformat(), last.isoformat()
    now = max(start, first).isoformat(), min(end, last).isoformat()
    if record is None:
        return now
    return min(now[0], record.first_day), max(now[1], record.last_day)


def _needs(
    monthly: RemoteFile | None,
    daily: Mapping[str, RemoteFile],
    record: LandingRecord | None,
    is_intact: Callable[[LandingRecord], bool],
    retry_quarantined: bool,
) -> tuple[RemoteFile | None, Mapping[str, RemoteFile], LandingRecord | None] | None:
    """Files to read for a partition and the record to build on, or None if there are none."""
    if not monthly and not daily:
        return None
    if record is None:
        return monthly, daily, None
    stale = record.parser_version != PARSER_VERSION
    damaged = record.parquet_bytes is not None and not is_intact(record)
    if stale or damaged:  # nothing of the old file can be reused: every file is read again
        return monthly, daily, None
    settled = ("landed",) if retry_quarantined else ("landed", "quarantined")
    seen = {(f.period, f.etag, f.checksum_etag) for f in record.files if f.outcome in settled}

    def is_new(file: RemoteFile) -> bool:
        return (file.period, file.etag, file.checksum_etag) not in seen

    if monthly and is_new(monthly):
        return monthly, daily, record
    has_month = any(f.outcome == "landed" and len(f.period) == 7 for f in record.files)
    needed = {d: f for d, f in daily.items() if not has_month or d in record.deficient_days}
    if not any(is_new(file) for file in needed.values()):
        return None
    # A repair of a monthly file is made from that file again, so that it equals a full landing.
    return monthly if has_month else None, needed, record
