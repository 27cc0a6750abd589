"""Write a lake of any size as if the archive had been ingested, without an archive.

    python -m bench.scale.generate --lake LAKE --symbols 10 --months 12 --days 20

Contracts list late and are delisted, minutes, days and files are missing or quarantined
(``bench/scale/tables.py`` says whose). The same arguments give the same files. What stands in the
lake stays: more months are added, and one more day replaces the partitions of the last month, as a
day's update does.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.scale.market import (
    DAY,
    Contract,
    Month,
    contracts,
    days_of,
    is_alive,
    make_month,
    month_name,
)
from bench.scale.tables import TICKS, WITHOUT_TICKS, Table, table
from ingest.datasets import VISION, Dataset
from ingest.decode import time_span
from ingest.lake import (
    FileRecord,
    Key,
    Lake,
    LandingLog,
    LandingRecord,
    Status,
    write_parquet,
)
from ingest.partition import rows_by_day

ORIGIN = "scale"  # a lake of it never takes files of an exchange
ARCHIVE = "https://data.binance.vision/"


@dataclass(frozen=True)
class Job:
    """Partitions of one contract and month that are to be written."""

    lake: Path
    contract: Contract
    month: int
    days: int
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class Generated:
    """What was written."""

    partitions: int
    rows: int
    bytes: int
    seconds: float


def generate(
    root: Path,
    symbols: int,
    months: int,
    *,
    days: int | None = None,
    ticks: bool = False,
    workers: int = 2,
) -> Generated:
    """Bring a lake to a size; partitions that stand there as they should be are left alone.

    Args:
        days: of the last month; None for all of it.
        ticks: tick layers and liquidations too.
        workers: processes, each of which holds one month of one contract at a time; 1 is this one.
    """
    started = time.monotonic()
    lake = Lake(root)
    lake.prepare(ORIGIN)
    state = lake.state("vision")
    datasets = WITHOUT_TICKS + TICKS if ticks else WITHOUT_TICKS
    jobs = list(_jobs(lake, state, contracts(symbols), months, days, datasets))
    partitions = rows = size = 0
    with contextlib.closing(LandingLog(lake.log_folder, "vision")) as log:
        for records in _written(jobs, workers):
            for record in records:
                held = state.get(record.key)
                log.append(record, after=held.log_seq if held else "")
                partitions += record.parquet_bytes is not None
                rows += record.rows_out
                size += record.parquet_bytes or 0
    return Generated(partitions, rows, size, time.monotonic() - started)


def _written(jobs: list[Job], workers: int) -> Iterator[list[LandingRecord]]:
    if workers == 1:
        yield from map(write_month, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool:
        yield from pool.map(write_month, jobs)


def _jobs(
    lake: Lake,
    state: dict[Key, LandingRecord],
    chosen: Sequence[Contract],
    months: int,
    days: int | None,
    datasets: Sequence[str],
) -> Iterator[Job]:
    for contract in chosen:
        for month in range(months):
            whole = days_of(month)
            there = min(days or whole, whole) if month == months - 1 else whole
            wanted = tuple(
                d for d in datasets if not _stands(lake, state, d, contract, month, there)
            )
            if wanted:
                yield Job(lake.root, contract, month, there, wanted)


def _stands(
    lake: Lake,
    state: dict[Key, LandingRecord],
    dataset: str,
    contract: Contract,
    month: int,
    days: int,
) -> bool:
    name = month_name(month)
    record = state.get((dataset, contract.symbol, name))
    if record is None or record.last_day != f"{name}-{days:02d}":
        return False
    return record.parquet_bytes is None or lake.is_intact(record)


def write_month(job: Job) -> list[LandingRecord]:
    """Write the partitions of a job; returns what the log is to say of them."""
    name = month_name(job.month)
    if not is_alive(job.contract, job.month):
        return [_record(job, name, dataset, "absent_upstream") for dataset in job.datasets]
    month = make_month(job.contract, job.month)
    records = []
    for dataset in job.datasets:
        made = table(dataset, month, job.days)
        record = _record(job, name, dataset, "landed")
        leader = VISION[dataset].made_with
        record.files = list(_files(VISION[dataset], month, made, job.days))
        if leader:
            record.made_from, record.files = record.versions, []
        if made.rows is None:
            record.status, record.error = "quarantined", record.files[0].error
        elif not made.rows.num_rows:
            record.status, record.files = "absent_upstream", []
        else:
            _commit(Lake(job.lake), record, made.rows)
        records.append(record)
    return records


def _record(job: Job, name: str, dataset: str, status: Status) -> LandingRecord:
    first, last = f"{name}-01", f"{name}-{job.days:02d}"
    return LandingRecord("vision", dataset, job.contract.symbol, name, status, first, last)


def _commit(lake: Lake, record: LandingRecord, rows: pa.Table) -> None:
    spec = record.spec
    record.rows_in = record.rows_out = rows.num_rows
    record.first_time, record.last_time = time_span(rows, spec)
    if spec.grain_minutes:
        times = rows[spec.time_column]
        span = times[-1].as_py() - times[0].as_py()
        record.gaps = span // timedelta(minutes=spec.grain_minutes) + 1 - rows.num_rows
    path = lake.partition_of(record)
    record.parquet_bytes, record.parquet_sha256 = write_parquet(path, rows, spec)


def _files(spec: Dataset, month: Month, made: Table, days: int) -> Iterator[FileRecord]:
    """The files that an archive would have: one of the month once it is over, else of its days.

    Those of a dataset that is made with another one are that one's. Funding has one of the month
    from its first day on: the archive has none until the month is over.
    """
    symbol = month.contract.symbol
    rows = rows_by_day(made.rows, spec) if made.rows else {}
    spec = VISION[spec.made_with or spec.name]
    monthly = "monthly" in spec.cadences
    if monthly and ("daily" not in spec.cadences or days == month.days):
        periods = [month.name]
        rows = {month.name: sum(rows.values())}
    else:
        listed = month.listed[: days * DAY].reshape(-1, DAY).any(axis=1)
        numbers = [int(n) + 1 for n in np.flatnonzero(listed) if n + 1 not in made.absent_days]
        periods = [f"{month.name}-{n:02d}" for n in numbers]
    for period in periods:
        prefix = spec.prefixes("monthly" if len(period) == 7 else "daily", symbol)[0]
        url = ARCHIVE + prefix + spec.file_name(symbol, period)
        bad = made.rows is None or (len(period) == 10 and int(period[8:]) in made.bad_days)
        version = f"{url} to day {days}" if len(period) == 7 else url
        file = FileRecord(url, period, "landed", hashlib.md5(version.encode()).hexdigest())
        if bad:
            file.outcome, file.error = "quarantined", f"{url}: its zip is cut short"
        else:
            file.rows_in = file.rows_out = rows.get(period, 0)
            file.header_present, file.epoch_unit, file.attempts = True, "ms", 1
        yield file


def main() -> None:
    """Generate, and say how much it was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lake", type=Path, required=True)
    parser.add_argument("--symbols", type=int, required=True)
    parser.add_argument("--months", type=int, required=True)
    parser.add_argument("--days", type=int, help="of the last month; all of it if left out")
    parser.add_argument("--ticks", action="store_true", help="tick layers and liquidations too")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    made = generate(
        given.lake,
        given.symbols,
        given.months,
        days=given.days,
        ticks=given.ticks,
        workers=given.workers,
    )
    print(
        f"{made.partitions:,} partitions, {made.rows:,} rows, {made.bytes / 1e6:,.0f} MB "
        f"in {made.seconds:,.1f} s"
    )


if __name__ == "__main__":
    main()
