"""Add events, and the spans known to be covered, to the partitions of the whole market."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from ingest.datasets import MARKET, Dataset
from ingest.decode import time_span
from ingest.lake import Claims, FileRecord, Key, Lake, LandingLog, LandingRecord, LandingState
from ingest.merge import merge_into, months_of
from ingest.spans import Span, by_month, from_log, to_log, union_spans

_LOOK_AGAIN_SECONDS = 0.05


@dataclass
class Added:
    """What became of the rows of one file: new ones, duplicates, and ones that contradict."""

    rows_in: int = 0
    new: int = 0
    duplicates: int = 0
    conflicts: int = 0

    def count(self, other: Added) -> None:
        """Count those of another file too."""
        self.rows_in += other.rows_in
        self.new += other.new
        self.duplicates += other.duplicates
        self.conflicts += other.conflicts


class EventPartitions:
    """The partitions of an event dataset, one a month, and the log of what was added to them.

    A file is known by its sha256: adding it again changes nothing and counts nothing. The newest
    record of a partition counts everything that was ever added to it.

    Args:
        listed: which files stay listed in the newer records of a partition, and so are known.
    """

    def __init__(
        self,
        lake: Lake,
        dataset: Dataset,
        claims: Claims,
        listed: Callable[[FileRecord], bool] = lambda _: True,
    ) -> None:
        self._lake, self._dataset, self._claims, self._listed = lake, dataset, claims, listed
        self._state = LandingState(lake.log_folder, dataset.source)
        self._log = LandingLog(lake.log_folder, dataset.source)

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def add(self, file: FileRecord, rows: pa.Table, spans: list[Span]) -> Added:
        """Add a file's rows and what it covers; returns when all is on disk and in the log.

        Args:
            file: identity of the file and its ``bad_rows``; the rest is filled in per month.
            rows: in the dataset's schema and the file's order.
        """
        total = Added()
        parts, covered = months_of(rows, self._dataset), by_month(spans)
        for month in sorted(parts.keys() | covered.keys()):
            part = parts.get(month, self._dataset.schema.empty_table())
            with self._claimed((self._dataset.name, MARKET, month)) as newest:
                added = self._add(newest, replace(file, period=month), part, covered.get(month, []))
            total.count(added)
            file = replace(file, bad_rows=0, error=None)  # said once, of the first month
        return total

    @contextmanager
    def _claimed(self, key: Key) -> Iterator[LandingRecord]:
        """Keep other processes off a partition; yields its newest record, or one to begin with."""
        while not self._claims.take(key):
            time.sleep(_LOOK_AGAIN_SECONDS)
        try:
            newest = self._state.refresh().get(key)
            if newest and self._lake.store.exists(self._lake.partition_of(newest)):
                yield newest
            else:  # the first, or somebody has moved the file away, and with it all that it covered
                seq = newest.log_seq if newest else ""
                yield LandingRecord(self._dataset.source, *key, "landed", log_seq=seq)
        finally:
            self._claims.release(key)

    def _add(
        self, newest: LandingRecord, file: FileRecord, rows: pa.Table, spans: list[Span]
    ) -> Added:
        known = any(f.sha256_actual == file.sha256_actual for f in newest.files)
        held = from_log(newest.covered)
        covered = union_spans([*held, *spans])
        if known:
            rows, file.bad_rows = rows.slice(0, 0), 0
        if covered == held and not rows.num_rows:
            return Added()
        record = replace(
            newest,
            files=[replace(f, carried=True) for f in newest.files if self._listed(f)],
            covered=to_log(covered),
        )
        merge_into(self._lake, record, rows, prefer="held")

        # Counted against the log, not the partition: it may hold rows of an add cut short.
        file.rows_in = rows.num_rows
        file.rows_out = record.rows_out - newest.rows_out
        file.conflicts_dropped = record.conflicts_dropped - newest.conflicts_dropped
        file.duplicates_dropped = file.rows_in - file.rows_out - file.conflicts_dropped
        file.first_time, file.last_time = time_span(
            rows.sort_by(self._dataset.time_column), self._dataset
        )
        stamps = rows[self._dataset.time_column].cast(pa.int64()).to_numpy()
        file.out_of_order = int(np.count_nonzero(stamps[1:] < stamps[:-1]))
        if not known:
            record.files.append(file)
        record.duplicates_dropped = newest.duplicates_dropped + file.duplicates_dropped
        record.first_day, record.last_day = _days(record, covered)
        record.bad_rows += file.bad_rows
        record.out_of_order += file.out_of_order
        self._log.append(record, after=newest.log_seq)
        return Added(file.rows_in, file.rows_out, file.duplicates_dropped, file.conflicts_dropped)


def _days(record: LandingRecord, covered: list[Span]) -> tuple[str, str]:
    """First and last day with rows or coverage."""
    ends = [t for span in covered for t in (span[0], span[1] - timedelta.resolution)]
    ends += [datetime.fromisoformat(t) for t in (record.first_time, record.last_time) if t]
    return f"{min(ends):%Y-%m-%d}", f"{max(ends):%Y-%m-%d}"
