"""What to do: upstream listing x landing log -> tasks. Pure functions, no I/O.

A partition (dataset, symbol, month) is up to date when every upstream file that matters to it has
been dealt with under its present ETags. The monthly file matters; daily files matter for the days
that the monthly one lacks, and all of them where there is no monthly file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from ingest.datasets import made_with
from ingest.lake import PARSER_VERSION, FileRecord, Key, LandingRecord
from ingest.names import month_bounds, months
from ingest.sources.vision import RemoteFile


@dataclass(frozen=True)
class Upstream:
    """Files of one (dataset, symbol) as listed, by period."""

    monthly: Mapping[str, RemoteFile] = field(default_factory=dict)
    daily: Mapping[str, RemoteFile] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One partition to land, and those that the same files make.

    Args:
        monthly: monthly file to read, if it is listed and not up to date.
        daily: daily files that may be needed, by day; those for days that turn out complete in the
            monthly file are not downloaded.
        previous: record to build on, if what it landed can be built on.
        also: further datasets to make.
        seen: ``log_seq`` of the partition's newest record when this was planned.
        known_bad: quarantined files that upstream has not replaced, by period: not to be read.
    """

    dataset: str
    symbol: str
    month: str
    monthly: RemoteFile | None
    daily: Mapping[str, RemoteFile]
    previous: LandingRecord | None
    first_day: str
    last_day: str
    also: tuple[str, ...] = ()
    seen: str = ""
    known_bad: Mapping[str, FileRecord] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """(dataset, symbol, month)."""
        return self.dataset, self.symbol, self.month

    @property
    def bytes(self) -> int:
        """Size of the zips that are likely to be read."""
        if self.monthly:
            return self.monthly.bytes
        return sum(f.bytes for day, f in self.daily.items() if day not in self.known_bad)


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


@dataclass(frozen=True)
class Planner:
    """Compares upstream with the landing log, for the days ``start`` to ``end``.

    Args:
        upstream: files of every (dataset, symbol) that was asked for.
        is_intact: whether a partition's file is the one that its record describes.
        retry_quarantined: read quarantined files again.
        keep_optional: make the datasets that are made on request only, such as the ticks.
        only: partitions to plan, with the first and the last day to ask for in each; where it is
            empty, all of ``upstream`` from ``start`` to ``end``.
    """

    upstream: Mapping[tuple[str, str], Upstream]
    start: date
    end: date
    is_intact: Callable[[LandingRecord], bool]
    retry_quarantined: bool = False
    keep_optional: bool = False
    only: Mapping[Key, tuple[date, date]] = field(default_factory=dict)

    def plan(self, state: Mapping[Key, LandingRecord]) -> Plan:
        """Plan every partition.

        Tasks come in the order symbol, month, dataset, so that a run cut short leaves whole
        symbols.
        """
        tasks: list[Task] = []
        facts: list[LandingRecord] = []
        bad: list[FileRecord] = []
        up_to_date = 0
        every = ((*pair, m) for m in months(self.start, self.end) for pair in self.upstream)
        for key in self.only or every:
            task, fact = self.partition(key, state)
            if task:
                tasks.append(task)
                continue
            if fact:
                facts.append(fact)
            if record := state.get(key):
                up_to_date += 1
                bad += [f for f in record.files if f.outcome == "quarantined"]
        tasks.sort(key=lambda t: (t.symbol, t.month, t.dataset))
        return Plan(tuple(tasks), tuple(facts), up_to_date, tuple(bad))

    def partition(
        self, key: Key, state: Mapping[Key, LandingRecord]
    ) -> tuple[Task | None, LandingRecord | None]:
        """The work that a partition needs, or else the fact that is to be recorded, if any."""
        dataset, symbol, month = key
        files = self.upstream[dataset, symbol]
        record = state.get(key)
        held = {f.period for f in record.files} if record else set()
        start, end = self.only.get(key, (self.start, self.end))
        first, last = start.isoformat(), end.isoformat()
        monthly = files.monthly.get(month)
        daily = {
            day: file
            for day, file in files.daily.items()
            if day[:7] == month and (first <= day <= last or day in held)
        }
        asked = _asked(month, start, end, monthly is not None, record)
        also = self._also(key, state)
        others = [state.get((name, symbol, month)) for name in also]
        needs = _needs(monthly, daily, record, self._is_whole(record, others),
                       self.retry_quarantined)  # fmt: skip
        if needs is not None:
            seen = record.log_seq if record else ""
            return Task(*key, *needs, *asked, also, seen, self._known_bad(files, needs[2])), None
        if record is None:
            return None, LandingRecord("vision", *key, "absent_upstream", *asked)
        if (record.first_day, record.last_day) == asked:
            return None, None
        files_held = [replace(f, carried=True) for f in record.files]
        fact = replace(record, first_day=asked[0], last_day=asked[1], files=files_held)
        return None, fact

    def _known_bad(self, files: Upstream, record: LandingRecord | None) -> dict[str, FileRecord]:
        """Files that a record has in quarantine and upstream still lists as they were."""
        if record is None or self.retry_quarantined:
            return {}
        listed = {**files.monthly, **files.daily}
        return {
            f.period: f
            for f in record.files
            if f.outcome == "quarantined"
            and f.period in listed
            and _version(f) == _version(listed[f.period])
        }

    def _also(self, key: Key, state: Mapping[Key, LandingRecord]) -> tuple[str, ...]:
        """Datasets made with this one: those always made, asked for, or made here before."""
        dataset, *rest = key
        always = made_with(dataset, optional=self.keep_optional)
        return tuple(
            name
            for name in made_with(dataset, optional=True)
            if name in always or (name, *rest) in state
        )

    def _is_whole(
        self, record: LandingRecord | None, others: Sequence[LandingRecord | None]
    ) -> bool:
        """Whether what has been landed stands: the partition, and those made with it."""
        if record is None or record.parquet_bytes is None:
            return True
        return self.is_intact(record) and all(
            other is not None and other.made_from == record.versions and self.is_intact(other)
            for other in others
        )


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
    is_whole: bool,
    retry_quarantined: bool,
) -> tuple[RemoteFile | None, Mapping[str, RemoteFile], LandingRecord | None] | None:
    """Files to read for a partition and the record to build on, or None if there are none."""
    if not monthly and not daily:
        return None
    if record is None:
        return monthly, daily, None
    stale = record.parser_version != PARSER_VERSION
    if stale or not is_whole:  # nothing of the old file can be reused: every file is read again
        return monthly, daily, None
    settled = ("landed",) if retry_quarantined else ("landed", "quarantined")
    seen = {_version(f) for f in record.files if f.outcome in settled}

    def is_new(file: RemoteFile) -> bool:
        return _version(file) not in seen

    if monthly and is_new(monthly):
        return monthly, daily, record
    has_month = any(f.outcome == "landed" and len(f.period) == 7 for f in record.files)
    needed = {d: f for d, f in daily.items() if not has_month or d in record.deficient_days}
    if not any(is_new(file) for file in needed.values()):
        return None
    # A repair of a monthly file is made from that file again, so that it equals a full landing.
    return monthly if has_month else None, needed, record


def _version(file: FileRecord | RemoteFile) -> tuple[str, str | None, str | None]:
    """What tells a file from the one that upstream replaces it with."""
    return file.period, file.etag, file.checksum_etag
