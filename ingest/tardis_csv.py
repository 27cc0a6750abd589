"""From a day file of Tardis to typed rows in order of arrival, whatever its size."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from ingest.datasets import MARKET, Dataset
from ingest.decode import timestamps
from ingest.errors import PerpError, Quarantine
from ingest.gzips import open_gzip
from ingest.lake import FileRecord
from ingest.partition import write_rows
from ingest.store import temporary

EXCHANGE = "binance-futures"
SIDES = ("buy", "sell")
_BLOCK_BYTES = 4 << 20
_LONGEST_HEADER = 4096
_SORT_MEMORY = "512MB"


class Stopped(Exception):
    """The run ends; the file has not been read to its end."""


def decode_day(
    path: Path, target: Path, spec: Dataset, symbol: str, record: FileRecord, stop: threading.Event
) -> None:
    """Read a day file into a Parquet file, and say in the record what it held.

    Rows come in the order of arrival, and of the file where they arrived together. Rows that agree
    in the dataset's key are one row.

    Args:
        symbol: the contract whose rows these must be, or ``MARKET`` for any.
        record: its ``period`` is the day; gets counts and times.
        stop: once it is set, Stopped is raised.

    Raises Quarantine for a file that cannot be trusted.
    """
    written = temporary(target)
    day = date.fromisoformat(record.period)
    arrivals = _Arrivals(spec.time_column)
    with open_gzip(path, spec.max_csv_bytes) as stream:
        batches = (
            _typed(raw, spec, symbol, day) for raw in _unless(stop, _csv_batches(stream, spec))
        )
        n_rows = write_rows(written, spec, arrivals.watch(batches), record)
    record.epoch_unit = "us" if n_rows else None
    record.rows_in, record.out_of_order = n_rows, arrivals.falls
    if arrivals.falls or (spec.key and arrivals.ties):
        as_read, written = written, temporary(target.with_suffix(".tidy"))
        n_distinct = write_rows(written, spec, _unless(stop, _tidied(as_read, spec)), record)
        record.duplicates_dropped = n_rows - n_distinct
        as_read.unlink()
    written.replace(target)


@dataclass
class _Arrivals:
    """Counts rows whose time is before, or that of, the row before."""

    column: str
    falls: int = 0
    ties: int = 0
    _last: int = 0

    def watch(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The same batches, none of which may be empty."""
        for batch in batches:
            times = batch[self.column].cast(pa.int64()).to_numpy()
            steps = np.diff(times, prepend=self._last)
            self.falls += int((steps < 0).sum())
            self.ties += int((steps == 0).sum())
            self._last = times[-1]
            yield batch


def _unless(stop: threading.Event, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if stop.is_set():
            raise Stopped
        yield batch


def _csv_batches(stream: io.BufferedReader, spec: Dataset) -> Iterator[pa.RecordBatch]:
    """Rows as they stand: epochs are integers, empty cells NULL. A file may have none."""
    names = _header(stream, spec)
    while stream.peek(1)[:1] in (b"\n", b"\r"):
        stream.read(1)
    if not stream.peek(1):
        return
    types = {"exchange": pa.string(), "symbol": pa.string()} | {
        f.name: pa.int64() if pa.types.is_timestamp(f.type) else f.type
        for f in spec.schema
        if f.name != "contract"
    }
    try:
        yield from pacsv.open_csv(
            stream,
            read_options=pacsv.ReadOptions(
                column_names=names, block_size=_BLOCK_BYTES, use_threads=False
            ),
            convert_options=pacsv.ConvertOptions(
                include_columns=list(types),
                column_types=types,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        if isinstance(error.__context__, Quarantine):
            raise error.__context__ from None
        raise Quarantine(f"unreadable CSV: {error}") from error


def _header(stream: io.BufferedReader, spec: Dataset) -> list[str]:
    """Column names of the file, which may be in any order and more than needed."""
    line = stream.readline(_LONGEST_HEADER)
    names = [n.strip().strip('"') for n in line.decode("utf-8-sig", "replace").split(",")]
    needed = {"exchange", "symbol", *spec.schema.names} - {"contract"}
    if line and not needed <= set(names):
        missing = ", ".join(n for n in spec.schema.names if n in needed - set(names))
        shown = ",".join(names)[:200]
        raise Quarantine(f"the header lacks {missing or 'exchange or symbol'}: {shown!r}")
    twice = sorted({n for n in names if n in needed and names.count(n) > 1})
    if twice:
        raise Quarantine(f"the header names {', '.join(twice)} twice")
    return names


def _typed(raw: pa.RecordBatch, spec: Dataset, symbol: str, day: date) -> pa.RecordBatch:
    """Rows in lake schema, of the one exchange, contract and day that the file is named after."""
    _expect_only(raw, "exchange", [EXCHANGE])
    if symbol != MARKET:
        _expect_only(raw, "symbol", [symbol])
    if "side" in raw.schema.names:
        _expect_only(raw, "side", SIDES)
    columns = []
    for field in spec.schema:
        column = raw["symbol" if field.name == "contract" else field.name]
        if column.null_count and not field.nullable:
            raise Quarantine(f"column {field.name} is empty in {column.null_count} rows")
        if pa.types.is_floating(field.type):
            if not pc.all(pc.is_finite(column), min_count=0).as_py():
                raise Quarantine(f"column {field.name} holds nan or inf")
        elif pa.types.is_timestamp(field.type):
            column, unit = timestamps(column, field.name)
            if unit not in (None, "us"):
                raise Quarantine(f"column {field.name} is in {unit}, not in microseconds")
        columns.append(column)
    batch = pa.RecordBatch.from_arrays(columns, schema=spec.schema)
    start = datetime(day.year, day.month, day.day)
    span = pc.min_max(batch[spec.time_column]).as_py()
    if not start <= span["min"] <= span["max"] < start + timedelta(days=1):
        raise Quarantine(
            f"holds rows that did not arrive on {day}: they run from {span['min']} to {span['max']}"
        )
    return batch


def _expect_only(raw: pa.RecordBatch, column: str, known: Iterable[str]) -> None:
    others = [v for v in pc.unique(raw[column]).to_pylist() if v not in known]
    if others:
        shown = ", ".join(repr(v)[:40] for v in others[:5])
        raise Quarantine(f"column {column} holds {shown}; expected is {' or '.join(known)}")


def _tidied(path: Path, spec: Dataset) -> Iterator[pa.RecordBatch]:
    """Rows of a file in order of time and then of position, one per key; sorted on disk."""
    key = ", ".join(f'"{name}"' for name in spec.key)
    first = f"qualify row_number() over (partition by {key} order by file_row_number) = 1"
    query = (
        f"select * from read_parquet(?, file_row_number = true) {first if spec.key else ''} "  # noqa: S608 (names of the registry)
        f'order by "{spec.time_column}", file_row_number'
    )
    try:
        with duckdb.connect() as connection:
            connection.execute(f"set memory_limit = '{_SORT_MEMORY}'")
            connection.execute("set temp_directory = ?", [str(path.with_suffix(".sort"))])
            for batch in connection.sql(query, params=[str(path)]).to_arrow_reader(100_000):
                columns = [batch[name] for name in spec.schema.names]
                yield pa.RecordBatch.from_arrays(columns, schema=spec.schema)
    except duckdb.Error as error:
        raise PerpError(f"cannot sort {path}: {error}; is there space left?") from error
