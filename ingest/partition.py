"""From decoded files to partitions of the lake. These functions run in worker processes.

What a file was decoded to waits in the task's folder until its month is complete, and with it the
file's record: an ingest that was interrupted goes on with the files that it had not read yet.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path, PurePath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest import ticks
from ingest.datasets import VISION, Dataset
from ingest.decode import decode, time_span
from ingest.errors import Quarantine
from ingest.lake import (
    PARSER_VERSION,
    ROW_GROUP_ROWS,
    FileRecord,
    Lake,
    LandingRecord,
    commit_parquet,
    parquet_options,
    write_parquet,
)
from ingest.names import days, month_bounds
from ingest.store import store_of, temporary
from ingest.worker import report

LEADER, SIZES, TAPE = "agg_trades_1m", "agg_trade_sizes_1h", "agg_trades"
_RESULT = b"perp"


@dataclass
class DecodeResult:
    """Outcome of one file: its record, and the days of a monthly file that are to be repaired."""

    record: FileRecord
    deficient_days: list[str] = field(default_factory=list)


# -------------------------------------------------------------------------------------- one file
def decode_file(
    zip_path: Path,
    folder: Path,
    dataset: str,
    symbol: str,
    record: FileRecord,
    also: Collection[str],
) -> DecodeResult:
    """Decode a zip into Arrow files in ``folder``; a bad file becomes a quarantine record.

    Args:
        also: datasets that the same pass makes, besides ``dataset``.
    """
    spec = VISION[dataset]
    result = DecodeResult(replace(record))
    record = result.record
    progress = functools.partial(report, zip_path.name, record.bytes or 0)
    try:
        if dataset == LEADER:
            tables = _reduce(zip_path, folder, record, also, progress)
            short = damaged_days(tables[dataset], record.period, utc_today())
        else:
            tables = {dataset: decode(zip_path, spec, symbol, record)}
            rows = rows_by_day(tables[dataset], spec)
            short = short_days(rows, spec, record.period, utc_today())
    except (Quarantine, pa.ArrowException, ValueError) as error:
        record.outcome, record.error = "quarantined", str(error)
        return result
    record.outcome = "landed"
    if len(record.period) == 7:
        result.deficient_days = short
    held = {"parser": PARSER_VERSION, "also": sorted(also), **asdict(result)}
    for name, table in sorted(tables.items(), key=lambda item: item[0] == dataset):
        if name == dataset:  # the last: once it is there, the others are too
            table = table.replace_schema_metadata({_RESULT: json.dumps(held)})
        _store(decoded(folder, record.period, name), table)
    return result


def decoded(folder: Path, period: str, dataset: str) -> Path:
    """Where the rows of a decoded file wait for their month."""
    suffix = "parquet" if dataset == TAPE else "arrow"
    return folder / f"{period}.{dataset}.{suffix}"


def decoded_before(
    folder: Path, dataset: str, record: FileRecord, also: Collection[str]
) -> DecodeResult | None:
    """Result of a file that an interrupted run has decoded, if upstream has not replaced it."""
    try:
        with pa.OSFile(str(decoded(folder, record.period, dataset)), "rb") as source:
            held = json.loads(pa.ipc.open_file(source).schema.metadata[_RESULT])
    except (OSError, pa.ArrowInvalid, KeyError, TypeError):
        return None
    then = FileRecord(**held["record"])
    same = (then.etag, then.checksum_etag) == (record.etag, record.checksum_etag)
    if not same or held["parser"] != PARSER_VERSION or not set(also) <= set(held["also"]):
        return None
    return DecodeResult(then, held["deficient_days"])


def _reduce(
    zip_path: Path,
    folder: Path,
    record: FileRecord,
    also: Collection[str],
    progress: Callable[[int, int], None],
) -> dict[str, pa.Table]:
    tape = decoded(folder, record.period, TAPE)
    keep = temporary(tape) if TAPE in also else None
    layers = ticks.reduce_zip(zip_path, record, folder / f"sort-{os.getpid()}", keep, progress)
    if keep:
        os.replace(keep, tape)
    return {SIZES: layers.sizes, LEADER: layers.minutes}


def _store(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = temporary(path)
    with pa.OSFile(str(tmp), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    os.replace(tmp, path)


# ------------------------------------------------------------------------------------- one month
def assemble(
    lake: Lake,
    record: LandingRecord,
    folder: Path,
    month: bool,
    fresh: Collection[str],
    keep_days: Collection[str],
    also: Collection[str],
) -> list[LandingRecord]:
    """Join the decoded files of a month into its partition, and commit it.

    Args:
        lake: where the partition lives.
        record: its ``files`` already say what each upstream file was; counts are filled in here.
        folder: where the decoded files are.
        month: whether the monthly file is among them, the first choice for every row it holds.
        fresh: days whose daily files are among them.
        keep_days: days whose rows are taken over from the partition as it stands.
        also: datasets that the same files make.

    Returns:
        The records of all partitions written, with counts, time span and the identity of the file;
        the one of ``record`` comes last.
    """
    landed = [f for f in record.files if f.outcome == "landed" and not f.carried]
    record.rows_in = sum(f.rows_in or 0 for f in landed)
    for count in (
        "duplicates_dropped", "conflicts_dropped", "out_of_period_dropped", "out_of_order",
    ):  # fmt: skip
        setattr(record, count, sum(getattr(f, count) for f in landed))
    parts = _Parts(lake, record, folder, month, sorted(fresh), sorted(keep_days))
    if record.dataset == LEADER:
        return _assemble_ticks(parts, also)
    table = parts.table(record.dataset, parts.monthly) if month else parts.none(record.dataset)
    more = [parts.table(record.dataset, day) for day in parts.fresh]
    if keep_days:
        held = parts.table(record.dataset, parts.held)
        more.append(_of_days(held, VISION[record.dataset], keep_days))
    if more:
        table, record.overlap_dropped, record.overlap_conflicts = _fill(
            table, pa.concat_tables(more), VISION[record.dataset]
        )
    record.gaps = _gaps(table, VISION[record.dataset])
    return [_commit(lake, record, table)]


@dataclass(frozen=True)
class _Parts:
    """The pieces that a month is put together from: decoded files, and the partition held."""

    lake: Lake
    record: LandingRecord
    folder: Path
    month: bool
    fresh: list[str]
    keep_days: list[str]

    held = "held"

    @property
    def monthly(self) -> str:
        return self.record.month

    def path(self, dataset: str, part: str) -> PurePath:
        """File of a part: a period, or ``held`` for the partition as it stands."""
        if part == self.held:
            return self.lake.partition(VISION[dataset], self.record.symbol, self.record.month)
        return decoded(self.folder, part, dataset)

    def table(self, dataset: str, part: str) -> pa.Table:
        """Rows of a part."""
        path = self.path(dataset, part)
        if part == self.held:
            return store_of(path).parquet(path).read()
        with pa.OSFile(str(path), "rb") as source:
            return pa.ipc.open_file(source).read_all().replace_schema_metadata()

    def none(self, dataset: str) -> pa.Table:
        return VISION[dataset].schema.empty_table()


def _commit(lake: Lake, record: LandingRecord, table: pa.Table) -> LandingRecord:
    dataset = VISION[record.dataset]
    record.rows_out = table.num_rows
    record.first_time, record.last_time = time_span(table, dataset)
    path = lake.partition_of(record)
    record.parquet_bytes, record.parquet_sha256 = write_parquet(path, table, dataset)
    return record


def _of_days(table: pa.Table, dataset: Dataset, wanted: Collection[str]) -> pa.Table:
    chosen = pa.array([date.fromisoformat(d) for d in sorted(wanted)], pa.date32())
    return table.filter(pc.is_in(_days(table, dataset), value_set=chosen))


def _fill(table: pa.Table, more: pa.Table, dataset: Dataset) -> tuple[pa.Table, int, int]:
    """Add the rows of ``more`` whose key ``table`` lacks; count the rest, equal or not."""
    time = dataset.time_column
    order = [(time, "ascending")]
    if dataset.keep_position:
        order += [("file_date", "ascending"), ("file_row", "ascending")]
    if not dataset.unique_key or not table.num_rows:
        return pa.concat_tables([table, more]).sort_by(order), 0, 0
    known = pc.is_in(more[time], value_set=table[time].combine_chunks())
    overlap = more.filter(known)
    joined = pa.concat_tables([table, more.filter(pc.invert(known))]).sort_by(order)
    equal = overlap.join(table, keys=dataset.schema.names, join_type="left semi").num_rows
    return joined, overlap.num_rows, overlap.num_rows - equal


def _days(table: pa.Table, dataset: Dataset) -> pa.ChunkedArray:
    """The day that each row belongs to: that of its file where known, else of its time."""
    if dataset.keep_position:
        return table["file_date"]
    return table[dataset.time_column].cast(pa.date32())


def rows_by_day(table: pa.Table, dataset: Dataset) -> dict[str, int]:
    """Number of rows of every day that has some."""
    counts = pc.value_counts(_days(table, dataset)).to_pylist()
    return {c["values"].isoformat(): c["counts"] for c in counts}


def _gaps(table: pa.Table, dataset: Dataset) -> int | None:
    if dataset.grain_minutes is None or not table.num_rows:
        return None
    step = dataset.grain_minutes * 60_000_000
    slots = table[dataset.time_column].cast(pa.int64()).to_numpy() // step
    return int(slots[-1] - slots[0] + 1 - len(np.unique(slots)))


def short_days(rows: dict[str, int], dataset: Dataset, month: str, today: date) -> list[str]:
    """Days of a month, up to today, for which a file holds fewer rows than a whole day has."""
    if dataset.rows_per_day is None or len(month) != 7:
        return []
    expected = dataset.rows_per_day
    return [day for day in _past_days(month, today) if rows.get(day, 0) < expected]


def _past_days(month: str, today: date) -> Iterator[str]:
    day, end = month_bounds(month)
    while day < min(end, today):
        yield day.isoformat()
        day += timedelta(days=1)


def utc_today() -> date:
    """Today in UTC."""
    return datetime.now(UTC).date()


# ----------------------------------------------------------------------------------------- ticks
def damaged_days(minutes: pa.Table, period: str, today: date) -> list[str]:
    """Days of a month's file that a daily one may repair: empty, with bad ticks, lacking ids."""
    if len(period) != 7:
        return []
    tape = minutes.filter(pc.is_valid(minutes["first_agg_trade_id"]))
    day = tape["minute_ts"].cast(pa.date32())
    inside, before = ticks.missing_ids(minutes)
    after = np.append(before[1:], 0)[: len(before)]
    bad = (inside + before + after + tape["n_bad"].to_numpy()) > 0
    damaged = {d.isoformat() for d in day.filter(pa.array(bad)).to_pylist()}
    present = rows_by_day(tape, VISION[LEADER])
    return [d for d in _past_days(period, today) if d in damaged or d not in present]


def _assemble_ticks(parts: _Parts, also: Collection[str]) -> list[LandingRecord]:
    """Every day comes whole from one file: a daily one if there is one that is no worse.

    No worse means: it has at least as many sound ticks as the monthly file has on that day.
    """
    record = parts.record
    layers = {
        part: parts.table(LEADER, part)
        for part in (
            *([parts.monthly] if parts.month else []),
            *parts.fresh,
            *([parts.held] if parts.keep_days else []),
        )
    }
    sound = {part: _per_day(table, ("trade_count",)) for part, table in layers.items()}
    rows = {part: _per_day(table, ("trade_count", "n_bad")) for part, table in layers.items()}
    source: dict[str, str] = {}
    for day in days(record.month):
        daily = day if day in parts.fresh else parts.held if day in parts.keep_days else None
        monthly = parts.monthly if day in rows.get(parts.monthly, {}) else None
        if daily and monthly:
            better = sound[daily].get(day, 0) >= sound[monthly][day]
            source[day], other = (daily, monthly) if better else (monthly, daily)
            record.overlap_dropped += rows[other].get(day, 0)
        elif daily or monthly:
            source[day] = daily or parts.monthly
    if parts.month:
        uncovered = (d for d in _past_days(record.month, utc_today()) if d not in source)
        record.uncovered_days = list(uncovered)

    def compose(dataset: str) -> pa.Table:
        chosen: list[pa.Table] = [parts.none(dataset)]
        for part in sorted(set(source.values())):
            own = [day for day, name in source.items() if name == part]
            chosen.append(_of_days(parts.table(dataset, part), VISION[dataset], own))
        whole = pa.concat_tables(chosen)
        order = [(VISION[dataset].time_column, "ascending")]
        return whole.sort_by([*order, *([("side", "ascending")] if dataset == SIZES else [])])

    minutes = compose(LEADER)
    inside, before = ticks.missing_ids(minutes)
    record.missing_ids = int(inside.sum() + before.sum())
    record.bad_rows = pc.sum(minutes["n_bad"], min_count=0).as_py()
    sizes = _made_with(record, SIZES)
    records = [_commit(parts.lake, sizes, compose(SIZES))]
    if TAPE in also:
        records.append(_commit_tape(parts, source))
    return [*records, _commit(parts.lake, record, minutes)]


def _made_with(record: LandingRecord, dataset: str) -> LandingRecord:
    """Record of a partition that the same files make; they are listed once, by the leader."""
    return replace(record, dataset=dataset, files=[], made_from=record.versions)


def _per_day(minutes: pa.Table, columns: tuple[str, ...]) -> dict[str, int]:
    """Sum of some counts by day."""
    total = functools.reduce(pc.add, [minutes[c] for c in columns])
    by_day = pa.table({"day": minutes["minute_ts"].cast(pa.date32()), "n": total})
    sums = by_day.group_by("day").aggregate([("n", "sum")]).to_pylist()
    return {r["day"].isoformat(): r["n_sum"] for r in sums}


def _commit_tape(parts: _Parts, source: dict[str, str]) -> LandingRecord:
    """Write the ticks themselves, day after day."""
    return write_in_pieces(parts.lake, _made_with(parts.record, TAPE), _tape(parts, source))


def _tape(parts: _Parts, source: dict[str, str]) -> Iterator[pa.RecordBatch]:
    """Ticks of the days, each from the file that was chosen for it, a row group at a time."""
    for part, span in itertools.groupby(source.items(), key=lambda item: item[1]):
        own = [datetime.fromisoformat(day) for day, _ in span]
        path = parts.path(TAPE, part)
        yield from rows_between(path, VISION[TAPE], own[0], own[-1] + timedelta(days=1))


# -------------------------------------------------------------------------- more than fits memory
def rows_between(
    path: PurePath, dataset: Dataset, start: datetime, end: datetime
) -> Iterator[pa.RecordBatch]:
    """Rows of a Parquet file with times in [start, end), in its order, a row group at a time."""
    column = dataset.schema.get_field_index(dataset.time_column)
    with store_of(path).parquet(path) as file:
        for group in range(file.num_row_groups):
            known = file.metadata.row_group(group).column(column).statistics
            if known.max < start or known.min >= end:
                continue
            rows = file.read_row_group(group)
            times = rows[dataset.time_column]
            inside = pc.and_(pc.greater_equal(times, start), pc.less(times, end))
            yield from rows.filter(inside).to_batches()


def write_in_pieces(
    lake: Lake, record: LandingRecord, batches: Iterator[pa.RecordBatch]
) -> LandingRecord:
    """Write a partition from rows in order of time, and say in the record what was written."""
    path = lake.partition_of(record)
    tmp = temporary(path)
    tmp.parent.mkdir(parents=True, exist_ok=True)
    count = write_rows(tmp, record.spec, _regrouped(batches), record)
    record.parquet_bytes, record.parquet_sha256 = commit_parquet(tmp, path, count)
    return record


def write_rows(
    path: Path,
    dataset: Dataset,
    pieces: Iterable[pa.Table | pa.RecordBatch],
    record: FileRecord | LandingRecord,
) -> int:
    """Write rows in order of time to a file, and say in the record how many and of which times."""
    count, record.first_time, record.last_time = 0, None, None
    with pq.ParquetWriter(path, dataset.schema, **parquet_options(dataset)) as writer:
        for piece in pieces:
            writer.write(piece)
            count += piece.num_rows
            first, record.last_time = time_span(piece, dataset)
            record.first_time = record.first_time or first
    record.rows_out = count
    return count


def _regrouped(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows in tables of the size of a row group."""
    held: list[pa.RecordBatch] = []
    n = 0
    for batch in batches:
        held.append(batch)
        n += batch.num_rows
        while n >= ROW_GROUP_ROWS:
            table = pa.Table.from_batches(held)
            yield table.slice(0, ROW_GROUP_ROWS)
            held = table.slice(ROW_GROUP_ROWS).to_batches()
            n -= ROW_GROUP_ROWS
    if n:
        yield pa.Table.from_batches(held)
