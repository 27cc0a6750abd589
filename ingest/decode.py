"""From an upstream zip to typed rows: the checks that stand between the outside and the lake.

One upstream file is held in memory at a time, and never more of it than ``Dataset.max_csv_bytes``.
"""

from __future__ import annotations

import io
import re
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from ingest.datasets import TIMESTAMP, Dataset
from ingest.errors import Quarantine
from ingest.lake import FileRecord
from ingest.names import base_contract, period_bounds
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
    record.first_time, record.last_time = time_span(table, dataset)
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
            column, record.epoch_unit = timestamps(column, spec.name)
        columns[spec.name] = column
    return pa.table(columns)


def timestamps(column: pa.ChunkedArray, name: str) -> tuple[pa.ChunkedArray, str | None]:
    """Integer epochs to UTC microseconds; the unit is a property of the file."""
    if column.null_count == len(column):
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


def time_span(table: pa.Table, dataset: Dataset) -> tuple[str | None, str | None]:
    """Times of the first and the last row of an ordered table, as ISO text."""
    if not table.num_rows:
        return None, None
    times = table[dataset.time_column]
    return times[0].as_py().isoformat(), times[-1].as_py().isoformat()
