"""From an upstream zip to typed rows: the checks that stand between the outside and the lake.

These functions run in worker processes. One upstream file is held in memory at a time, and never
more of it than ``Dataset.max_csv_bytes``.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from ingest.datasets import DATASETS, TIMESTAMP, Dataset
from ingest.errors import Quarantine
from ingest.lake import FileRecord, Lake, LandingRecord, write_parquet
from ingest.names import base_contract, month_bounds, period_bounds
from ingest.zips import open_member

_ROW = "_row"
_ARROW = {"float": pa.float64(), "int": pa.int64(), "epoch": pa.int64(), "utc_text": TIMESTAMP}
# Factor to microseconds by number of digits of a present-day epoch.
_EPOCH_UNITS = {13: ("ms", 1_000), 16: ("us", 1), 19: ("ns", -1_000)}
_EPOCH_RANGE = (datetime(2017, 1, 1), datetime(2100, 1, 1))


# ---------------------------------------------------------------------------------------- the CSV
def read_header(stream: io.BufferedReader, dataset: Dataset) -> bool:
    """Read past the byte order mark and the header line; returns whether there was a header.

    Raises Quarantine for a header that the dataset does not know.
    """
    head = stream.peek(1 << 16)[: 1 << 16]
    if head.startswith(b"\xef\xbb\xbf"):
        stream.read(3)
        head = head[3:]
    if b"\0" in head:
        raise Quarantine("the CSV holds NUL bytes")
    first_line = head.split(b"\n", 1)[0]
    has_header = bool(first_line.strip()) and not re.match(rb'\s*"?-?\d', first_line)
    if has_header:
        found = tuple(
            name.strip().strip('"')
            for name in first_line.decode("utf-8", "replace").strip().split(",")
        )
        if found not in dataset.headers:
            raise Quarantine(
                f"unexpected header {','.join(found)[:200]!r}; known is "
                f"{','.join(dataset.headers[0])!r}"
            )
        stream.readline()
    elif not head.strip() and stream.read().strip():
        raise Quarantine("the CSV begins with blank lines")
    return has_header


def read_csv(stream: io.BufferedReader, dataset: Dataset) -> tuple[pa.Table, bool]:
    """Read the CSV by position.

    Returns:
        Table with one column per non-placeholder field (epochs still integers) and whether the
        file had a header line. Raises Quarantine if a line does not fit the dataset.
    """
    has_header = read_header(stream, dataset)
    if not stream.peek(1):
        return _empty(dataset), has_header
    names = [f"{f.name}.{i}" for i, f in enumerate(dataset.fields)]
    kept = {n: f for n, f in zip(names, dataset.fields, strict=True) if f.parse != "ignore"}
    try:
        reader = pacsv.open_csv(
            stream,
            read_options=pacsv.ReadOptions(
                column_names=names, block_size=4 << 20, use_threads=False
            ),
            convert_options=pacsv.ConvertOptions(
                include_columns=list(kept),
                column_types={n: _ARROW.get(f.parse, pa.string()) for n, f in kept.items()},
                null_values=[""],
                strings_can_be_null=False,
                quoted_strings_can_be_null=True,
            ),
        )
        table = reader.read_all()
    except pa.ArrowInvalid as error:
        if isinstance(error.__context__, Quarantine):
            raise error.__context__ from None
        raise Quarantine(f"unreadable CSV: {error}") from error
    return table.rename_columns([f.name for f in kept.values()]), has_header


def _empty(dataset: Dataset) -> pa.Table:
    kept = [f for f in dataset.fields if f.parse != "ignore"]
    return pa.schema([(f.name, _ARROW.get(f.parse, pa.string())) for f in kept]).empty_table()


# ------------------------------------------------------------------------------------- one file
def decode(path: Path, dataset: Dataset, symbol: str, record: FileRecord) -> pa.Table:
    """Decode one verified zip and fill in what the record says about its content.

    Returns:
        Rows in lake schema, ordered by time and then by position in the file; exact duplicates and
        rows outside the period are left out and counted. Raises Quarantine.
    """
    with open_member(path, dataset.max_csv_bytes) as stream:
        raw, record.header_present = read_csv(stream, dataset)
    record.rows_in = raw.num_rows
    table = _typed(raw, dataset, symbol, record)
    table = table.append_column(_ROW, pa.array(range(table.num_rows), pa.int64()))
    table = _in_period(table, dataset, record)
    table = _ordered(table, dataset, record)
    if dataset.keep_position:
        file_date = pa.scalar(date.fromisoformat(record.period), pa.date32())
        table = table.append_column("file_date", pa.repeat(file_date, table.num_rows))
        table = table.append_column("file_row", table[_ROW])
    table = table.select(dataset.schema.names).cast(dataset.schema)
    record.rows_out = table.num_rows
    record.first_time, record.last_time = _span(table, dataset)
    return table


def _typed(raw: pa.Table, dataset: Dataset, symbol: str, record: FileRecord) -> pa.Table:
    columns: dict[str, pa.ChunkedArray] = {}
    for spec in dataset.fields:
        if spec.parse == "ignore":
            continue
        column = raw[spec.name]
        if spec.parse == "symbol":
            others = pc.unique(column).to_pylist()
            if any(o not in (symbol, base_contract(symbol)) for o in others):
                raise Quarantine(f"holds rows of other symbols: {others[:5]}")
            continue
        if column.null_count and not spec.nullable:
            raise Quarantine(f"column {spec.name} is empty in {column.null_count} rows")
        if spec.parse == "float" and not pc.all(pc.is_finite(column), min_count=0).as_py():
            raise Quarantine(f"column {spec.name} holds nan or inf")
        if spec.parse == "epoch":
            column, record.epoch_unit = _timestamps(column, spec.name)
        columns[spec.name] = column
    return pa.table(columns)


def _timestamps(column: pa.ChunkedArray, name: str) -> tuple[pa.ChunkedArray, str | None]:
    """Integer epochs to UTC microseconds; the unit is a property of the file."""
    if not len(column):
        return column.cast(TIMESTAMP), None
    limits = pc.min_max(column).as_py()
    unit, factor = epoch_unit(limits["min"], limits["max"], name)
    micros = pc.multiply(column, factor) if factor > 0 else pc.divide(column, -factor)
    times = micros.cast(TIMESTAMP)
    span = pc.min_max(times).as_py()
    if not _EPOCH_RANGE[0] <= span["min"] <= span["max"] < _EPOCH_RANGE[1]:
        raise Quarantine(f"column {name} is out of range: {span['min']} … {span['max']}")
    return times, unit


def epoch_unit(lowest: int, highest: int, name: str) -> tuple[str, int]:
    """Unit of integer epochs and its factor to microseconds (negative: divide).

    Raises Quarantine if the two are not of one unit, or no present-day epochs.
    """
    digits = {len(str(abs(lowest))), len(str(abs(highest)))}
    if len(digits) != 1 or digits.isdisjoint(_EPOCH_UNITS):
        raise Quarantine(f"column {name} is not one epoch unit: {lowest} … {highest}")
    return _EPOCH_UNITS[digits.pop()]


def _in_period(table: pa.Table, dataset: Dataset, record: FileRecord) -> pa.Table:
    first, end = (datetime(d.year, d.month, d.day) for d in period_bounds(record.period))
    end += timedelta(minutes=dataset.period_slack_minutes)
    times = table[dataset.time_column]
    inside = pc.and_(
        pc.greater_equal(times, pa.scalar(first, TIMESTAMP)),
        pc.less(times, pa.scalar(end, TIMESTAMP)),
    )
    kept = table.filter(inside)
    record.out_of_period_dropped = table.num_rows - kept.num_rows
    if table.num_rows and not kept.num_rows:
        span = pc.min_max(times).as_py()
        raise Quarantine(
            f"no row lies in {record.period}: they run from {span['min']} to {span['max']}"
        )
    return kept


def _ordered(table: pa.Table, dataset: Dataset, record: FileRecord) -> pa.Table:
    """Order by time and position; drop rows equal in every column, and count everything."""
    time = dataset.time_column
    values = [name for name in table.schema.names if name != _ROW]
    stamps = table[time].cast(pa.int64()).to_numpy()
    record.out_of_order = int((stamps[1:] < stamps[:-1]).sum())

    firsts = table.group_by(values, use_threads=False).aggregate([(_ROW, "min")])[f"{_ROW}_min"]
    distinct = table
    if len(firsts) < table.num_rows:
        distinct = table.filter(pc.is_in(table[_ROW], value_set=firsts.combine_chunks()))
    record.duplicates_dropped = table.num_rows - distinct.num_rows

    distinct = distinct.sort_by([(time, "ascending"), (_ROW, "ascending")])
    if not dataset.unique_key:
        return distinct
    stamps = distinct[time].cast(pa.int64()).to_numpy()
    last_of_key = np.append(stamps[1:] != stamps[:-1], True)[: len(stamps)]
    unique = distinct.filter(pa.array(last_of_key))
    record.conflicts_dropped = distinct.num_rows - unique.num_rows
    return unique


def _span(table: pa.Table, dataset: Dataset) -> tuple[str | None, str | None]:
    if not table.num_rows:
        return None, None
    times = table[dataset.time_column]
    return times[0].as_py().isoformat(), times[-1].as_py().isoformat()


# ------------------------------------------------------------------------------------- one month
@dataclass
class DecodeResult:
    """Outcome of one file in a worker: its record, and the rows of each day it holds."""

    record: FileRecord
    rows_by_day: dict[str, int] = field(default_factory=dict)


def decode_file(
    zip_path: Path, out: Path, dataset: str, symbol: str, record: FileRecord
) -> DecodeResult:
    """Decode a zip into an Arrow file at ``out``; a bad file becomes a quarantine record."""
    spec = DATASETS[dataset]
    record = replace(record)
    try:
        table = decode(zip_path, spec, symbol, record)
    except (Quarantine, pa.ArrowException, ValueError) as error:
        record.outcome, record.error = "quarantined", str(error)
        return DecodeResult(record)
    record.outcome = "landed"
    out.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return DecodeResult(record, _rows_by_day(table, spec))


def assemble(
    lake: Lake,
    record: LandingRecord,
    monthly: Path | None,
    daily: dict[str, Path],
    keep_days: set[str],
) -> LandingRecord:
    """Join the decoded files of a month into its partition and commit it.

    Args:
        lake: where the partition lives.
        record: its ``files`` already say what each upstream file was; counts are filled in here.
        monthly: Arrow file of the monthly archive, the first choice for every row that it holds.
        daily: Arrow file per day.
        keep_days: days whose rows are taken over from the partition as it stands.

    Returns:
        The record, with counts, time span and the identity of the committed file.
    """
    dataset = DATASETS[record.dataset]
    path = lake.partition(*record.key)
    table = _load(monthly) if monthly else dataset.schema.empty_table()
    fresh = [_load(daily[day]) for day in sorted(daily)]
    if keep_days:
        held = pq.ParquetFile(path).read()
        kept = pa.array([date.fromisoformat(d) for d in sorted(keep_days)], pa.date32())
        fresh.append(held.filter(pc.is_in(_days(held, dataset), value_set=kept)))
    if fresh:
        table, record.overlap_dropped, record.overlap_conflicts = _fill(
            table, pa.concat_tables(fresh), dataset
        )
    attempted = [f for f in record.files if f.outcome == "landed" and not f.carried]
    record.rows_in = sum(f.rows_in or 0 for f in attempted)
    record.duplicates_dropped = sum(f.duplicates_dropped for f in attempted)
    record.conflicts_dropped = sum(f.conflicts_dropped for f in attempted)
    record.out_of_period_dropped = sum(f.out_of_period_dropped for f in attempted)
    record.rows_out = table.num_rows
    record.first_time, record.last_time = _span(table, dataset)
    record.gaps = _gaps(table, dataset)
    record.parquet_bytes, record.parquet_sha256 = write_parquet(path, table, dataset)
    return record


def _load(path: Path) -> pa.Table:
    with pa.OSFile(str(path), "rb") as source:
        return pa.ipc.open_file(source).read_all()


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


def _rows_by_day(table: pa.Table, dataset: Dataset) -> dict[str, int]:
    counts = pc.value_counts(_days(table, dataset)).to_pylist()
    return {c["values"].isoformat(): c["counts"] for c in counts}


def _gaps(table: pa.Table, dataset: Dataset) -> int | None:
    if dataset.grain_minutes is None or not table.num_rows:
        return None
    step = dataset.grain_minutes * 60_000_000
    slots = table[dataset.time_column].cast(pa.int64()).to_numpy() // step
    return int(slots[-1] - slots[0] + 1 - len(np.unique(slots)))


def short_days(rows_by_day: dict[str, int], dataset: Dataset, month: str, today: date) -> list[str]:
    """Days of a month, up to today, for which a file holds fewer rows than a whole day has."""
    if dataset.rows_per_day is None:
        return []
    day, end = month_bounds(month)
    short = []
    while day < min(end, today):
        if rows_by_day.get(day.isoformat(), 0) < dataset.rows_per_day:
            short.append(day.isoformat())
        day += timedelta(days=1)
    return short


def utc_today() -> date:
    """Today in UTC."""
    return datetime.now(UTC).date()
