"""The single pass over a tick file: aggTrades to the minute layer and the hours' trade sizes.

Ticks are read once and in pieces, so memory does not grow with the file. The tape is put into the
order of its ids, of equal ids the first in the file counts, and whatever was wrong is counted. A
file in order, which is what most are, is reduced as it is inflated; at the first row that is not,
the pass begins anew behind DuckDB's sort, which spills to disk.

Sums are taken row by row in the order of ids: the same tape gives the same bits, however it is cut
into pieces and whatever its disorder was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest.datasets import (
    LARGEST_SIZE_BIN,
    SIZE_BINS_PER_DECADE,
    SMALLEST_SIZE_BIN,
    TICK_MINUTES,
    TICK_SIZES,
    TIMESTAMP,
    VISION,
)
from ingest.decode import epoch_unit, read_header
from ingest.errors import PerpError, Quarantine
from ingest.lake import ROW_GROUP_ROWS, FileRecord, parquet_options
from ingest.names import period_bounds
from ingest.zips import CsvMember, open_member

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TICKS = VISION["agg_trades"]
MINUTE_US, HOUR_US = 60_000_000, 3_600_000_000
SORT_MEMORY = "400MB"
_PIECE_BYTES = 16 << 20
_BINS = LARGEST_SIZE_BIN - SMALLEST_SIZE_BIN + 1
_SIDES = 2  # taker buy, taker sell
_NO_ID = np.iinfo(np.int64).max
_TYPES = [pa.int64(), pa.float64(), pa.float64(), pa.int64(), pa.int64(), pa.int64(), pa.bool_()]


@dataclass(frozen=True)
class Layers:
    """What stays of a tick file: minutes in order of time, sizes in order of hour and side."""

    minutes: pa.Table
    sizes: pa.Table


class Ticks(NamedTuple):
    """Rows of the tape, arrays of shape (rows,). ``time`` is epoch microseconds."""

    agg_trade_id: Ints
    price: Floats
    quantity: Floats
    first_trade_id: Ints
    last_trade_id: Ints
    time: Ints
    is_buyer_maker: Bools

    def where(self, rows: Bools | Ints | slice) -> Ticks:
        """Some of the rows."""
        return Ticks._make(column[rows] for column in self)


class _Disorder(Exception):
    """An id that is not above the one before it."""


def reduce_zip(
    path: Path,
    record: FileRecord,
    scratch: Path,
    keep: Path | None = None,
    on_progress: Callable[[int, int], None] = lambda zip_bytes, rows: None,
) -> Layers:
    """Reduce one verified zip to its layers, and fill in what the record says about its content.

    Args:
        path: zip of a day or a month of one contract.
        record: its ``period`` says which rows belong; others are left out and counted.
        scratch: folder that a sort may spill to.
        keep: file to write the ticks themselves to, ordered and without duplicates.
        on_progress: called with the bytes of the zip and the rows read so far.

    Raises Quarantine if the file cannot be trusted; then nothing of it counts.
    """
    for read in (_in_file_order, _sorted_by_id):
        tally = replace(record, out_of_period_dropped=0, bad_rows=0, missing_ids=0)
        layers = _Accumulator(record.period)
        with contextlib.ExitStack() as stack:
            member = stack.enter_context(open_member(path, VISION["agg_trades_1m"].max_csv_bytes))
            kept = stack.enter_context(_Keeper(keep)) if keep else None
            try:
                for tape in read(member, tally, layers, scratch):
                    layers.add(tape)
                    if kept:
                        kept.add(tape)
                    on_progress(member.compressed_read, tally.rows_in or 0)
            except _Disorder:
                continue
        if tally.rows_in and not layers.rows:
            raise Quarantine(f"none of its {tally.rows_in} rows lies in {record.period}")
        minutes = layers.minutes()
        layers.describe(tally)
        inside, before = missing_ids(minutes)
        tally.missing_ids = int(inside.sum() + before.sum())
        for column in fields(tally):
            setattr(record, column.name, getattr(tally, column.name))
        return Layers(minutes, layers.sizes())
    raise AssertionError("a sorted tape is in order")


def missing_ids(minutes: pa.Table) -> tuple[Ints, Ints]:
    """Ids that a minute layer lacks inside each minute, and between it and the minute before.

    Arrays over the minutes that have rows of their own. An id below the one before it begins
    another contract under the same name, and lacks nothing.
    """
    tape = minutes.filter(pc.is_valid(minutes["first_agg_trade_id"]))
    first, last, trades, bad = (
        tape[name].to_numpy()
        for name in ("first_agg_trade_id", "last_agg_trade_id", "trade_count", "n_bad")
    )
    before = np.zeros(len(first), np.int64)
    before[1:] = np.maximum(first[1:] - last[:-1] - 1, 0)
    return np.maximum(last - first + 1 - trades - bad, 0), before


# ------------------------------------------------------------------------------------- reading
def _in_file_order(
    member: CsvMember, tally: FileRecord, layers: _Accumulator, scratch: Path
) -> Iterator[Ticks]:
    """The tape as it stands in the file, if it is in order."""
    last_id = -1
    for ticks in _read(member, tally):
        ids = ticks.agg_trade_id
        if ids[0] <= last_id or (ids[1:] <= ids[:-1]).any():
            raise _Disorder
        last_id = int(ids[-1])
        yield ticks


def _sorted_by_id(
    member: CsvMember, tally: FileRecord, layers: _Accumulator, scratch: Path
) -> Iterator[Ticks]:
    """The tape in the order of ids, duplicates counted and left out; sorted on disk if need be."""
    import duckdb  # most files are in order

    scratch.mkdir(parents=True, exist_ok=True)
    names = [*Ticks._fields, "position"]
    schema = pa.schema([*zip(Ticks._fields, _TYPES, strict=True), ("position", pa.int64())])

    refused: list[Quarantine] = []  # an exception does not find its way through the engine

    def batches() -> Iterator[pa.RecordBatch]:
        highest, position = -1, 0
        try:
            for ticks in _read(member, tally):
                ids = ticks.agg_trade_id
                before = np.maximum.accumulate(np.concatenate([[highest], ids]))
                layers.note_out_of_order(ticks.time[ids < before[:-1]])
                highest = int(before[-1])
                positions = np.arange(position, position + len(ids))
                position += len(ids)
                yield pa.record_batch([pa.array(c) for c in (*ticks, positions)], names=names)
        except Quarantine as error:
            refused.append(error)
            raise

    previous: Ticks | None = None
    with duckdb.connect(config={"threads": 1, "memory_limit": SORT_MEMORY}) as engine:
        engine.execute(f"set temp_directory = '{str(scratch).replace(chr(39), chr(39) * 2)}'")
        engine.register("tape", pa.RecordBatchReader.from_batches(schema, batches()))
        ordered = engine.sql("from tape order by agg_trade_id, position")
        try:
            for batch in ordered.to_arrow_reader(1 << 17):
                held = batch.select(Ticks._fields)
                ticks = Ticks(*(c.to_numpy(zero_copy_only=False) for c in held.columns))
                ticks, previous = _without_duplicates(ticks, previous, tally, layers)
                if len(ticks.time):
                    yield ticks
        except duckdb.Error as error:
            if refused:
                raise refused[0] from None
            reason = str(error).splitlines()[0]
            raise PerpError(
                f"cannot sort {member.path.name}: {reason}; is there space left in {scratch}?"
            ) from error


def _without_duplicates(
    ticks: Ticks, previous: Ticks | None, tally: FileRecord, layers: _Accumulator
) -> tuple[Ticks, Ticks]:
    """The first row of every id, and the last of them; ``previous`` is the row kept before."""
    if previous is not None:
        ticks = Ticks(*(np.concatenate(pair) for pair in zip(previous, ticks, strict=True)))
    ids = ticks.agg_trade_id
    first = np.concatenate([[True], ids[1:] != ids[:-1]])
    if not first.all():
        of_id = np.maximum.accumulate(np.where(first, np.arange(len(ids)), 0))
        equal = np.ones(len(ids), np.bool_)
        for column in ticks:
            equal &= (column == column[of_id]) | (np.isnan(column) & np.isnan(column[of_id]))
        tally.duplicates_dropped += int((equal & ~first).sum())
        tally.conflicts_dropped += int((~equal & ~first).sum())
        layers.note_duplicates(ticks.time[~first])
    kept = ticks.where(first)
    return kept.where(slice(previous is not None, None)), kept.where(slice(-1, None))


def _read(member: CsvMember, tally: FileRecord) -> Iterator[Ticks]:
    """Rows of the period, in pieces and in file order; counts what it reads and leaves out."""
    tally.header_present = read_header(member, VISION["agg_trades_1m"])
    tally.rows_in = 0
    start, end = (_epoch_us(day) for day in period_bounds(tally.period))
    for piece in member.lines(_PIECE_BYTES):
        if not piece.isspace():
            columns = _parse(piece, tally.rows_in)
            times = columns[5]
            tally.rows_in += len(times)
            unit, factor = epoch_unit(times.min(), times.max(), "transact_time")
            if tally.epoch_unit not in (None, unit):
                raise Quarantine("column transact_time is not one epoch unit")
            tally.epoch_unit = unit
            columns[5] = times * factor if factor > 0 else times // -factor
            ticks = Ticks(*columns)
            if ticks.time.min() < start or ticks.time.max() >= end:
                inside = (ticks.time >= start) & (ticks.time < end)
                tally.out_of_period_dropped += len(inside) - int(inside.sum())
                ticks = ticks.where(inside)
            if len(ticks.time):
                yield ticks


def _parse(piece: bytes, rows_before: int) -> list[npt.NDArray[Any]]:
    """The seven columns of whole CSV lines."""
    import polars as pl  # takes a third of a second; most files hold no ticks

    types = (pl.Int64, pl.Float64, pl.Float64, pl.Int64, pl.Int64, pl.Int64, pl.Boolean)
    schema = dict(zip(Ticks._fields, types, strict=True))
    try:
        frame = pl.read_csv(piece, schema=schema, has_header=False, quote_char=None)
    except pl.exceptions.PolarsError as error:
        raise Quarantine(f"unreadable CSV after row {rows_before:,}: {error}") from error
    for column in frame:
        if column.null_count():
            raise Quarantine(f"column {column.name} is empty in {column.null_count()} rows")
    return [column.to_numpy() for column in frame]


def _epoch_us(day: date) -> int:
    return (day - date(1970, 1, 1)).days * 24 * HOUR_US


# ------------------------------------------------------------------------------------- reducing
class _Accumulator:
    """Running sums of one period: a slot per minute, per minute and side, and per size bin."""

    def __init__(self, period: str) -> None:
        self._start, end = (_epoch_us(day) for day in period_bounds(period))
        n = (end - self._start) // MINUTE_US
        self._period = period
        self.rows = 0
        self._n_bad, self._n_duplicates, self._n_out_of_order = _zeros(3, n)
        self._first_time, self._last_time, self._raw_trades = _zeros(3, n)
        self._first_id, self._last_id = np.full(n, _NO_ID), np.full(n, -1)
        self._first_sound_id = np.full(n, _NO_ID)
        self._price_first, self._price_last = np.full(n, np.nan), np.full(n, np.nan)
        self._price_high, self._price_low = np.full(n, -np.inf), np.full(n, np.inf)
        self._count = np.zeros((n, _SIDES), np.int64)
        self._qty, self._quote, self._quote_sq, self._max_quote = np.zeros((4, n, _SIDES))
        self._size_n = np.zeros((n // 60, _SIDES, _BINS), np.int64)
        self._size_quote = np.zeros((n // 60, _SIDES, _BINS))

    def note_duplicates(self, times: Ints) -> None:
        """Rows that were dropped because their id had been seen."""
        np.add.at(self._n_duplicates, self._minute(times), 1)

    def note_out_of_order(self, times: Ints) -> None:
        """Rows that stood behind a higher id."""
        np.add.at(self._n_out_of_order, self._minute(times), 1)

    def _minute(self, times: Ints) -> Ints:
        minutes: Ints = (times - self._start) // MINUTE_US
        return minutes

    def add(self, tape: Ticks) -> None:
        """Add the next rows of the tape, in the order of ids."""
        self.rows += len(tape.time)
        minute = self._minute(tape.time)
        opens, closes = _runs(minute)
        first = _new(minute, opens, self._first_id)
        self._first_id[minute[first]] = tape.agg_trade_id[first]
        self._first_time[minute[first]] = tape.time[first]
        self._last_id[minute[closes]] = tape.agg_trade_id[closes]
        self._last_time[minute[closes]] = tape.time[closes]

        with np.errstate(invalid="ignore", over="ignore"):  # 0 times inf: a bad tick
            quote = tape.price * tape.quantity
        if not (tape.price.min() > 0 and quote.min() > 0 and quote.max() < np.inf):
            sound = (tape.price > 0) & (tape.quantity > 0) & np.isfinite(quote)
            np.add.at(self._n_bad, minute[~sound], 1)
            tape, minute, quote = tape.where(sound), minute[sound], quote[sound]
            opens, closes = _runs(minute)
        if not len(quote):
            return
        first = _new(minute, opens, self._first_sound_id)
        self._first_sound_id[minute[first]] = tape.agg_trade_id[first]
        self._price_first[minute[first]] = tape.price[first]
        self._price_last[minute[closes]] = tape.price[closes]
        at = minute[opens]
        np.maximum.at(self._price_high, at, np.maximum.reduceat(tape.price, opens))
        np.minimum.at(self._price_low, at, np.minimum.reduceat(tape.price, opens))
        trades = tape.last_trade_id - tape.first_trade_id + 1
        np.add.at(self._raw_trades, at, np.add.reduceat(trades, opens))

        side = minute * _SIDES + tape.is_buyer_maker
        np.add.at(self._count.reshape(-1), side, 1)
        np.add.at(self._qty.reshape(-1), side, tape.quantity)
        np.add.at(self._quote.reshape(-1), side, quote)
        np.add.at(self._quote_sq.reshape(-1), side, quote * quote)
        np.maximum.at(self._max_quote.reshape(-1), side, quote)

        # 1e-9: without it a few exact edges such as 1000 land one bin low
        size = np.floor(SIZE_BINS_PER_DECADE * np.log10(quote) + 1e-9)
        size = np.clip(size, SMALLEST_SIZE_BIN, LARGEST_SIZE_BIN).astype(np.int64)
        slot = (minute // 60 * _SIDES + tape.is_buyer_maker) * _BINS + size - SMALLEST_SIZE_BIN
        np.add.at(self._size_n.reshape(-1), slot, 1)
        np.add.at(self._size_quote.reshape(-1), slot, quote)

    def describe(self, tally: FileRecord) -> None:
        """Write the totals into the record."""
        tally.rows_out = self.rows
        tally.bad_rows = int(self._n_bad.sum())
        tally.out_of_order = int(self._n_out_of_order.sum())
        used = np.flatnonzero(self._last_id >= 0)
        if len(used):
            tally.first_time = _iso(self._first_time[used].min())
            tally.last_time = _iso(self._last_time[used].max())

    def minutes(self) -> pa.Table:
        """The minute layer: one row per minute with a row on the tape."""
        # a duplicate may carry the time of a minute that has no row of its own
        used = np.flatnonzero((self._last_id >= 0) | (self._n_duplicates > 0))
        seen = self._last_id[used] >= 0
        bought, sold = self._count[used].T > 0
        traded = bought | sold
        qty, quote = self._qty[used], self._quote[used]

        def known(values: npt.NDArray[Any], where: Bools) -> pa.Array:
            return pa.array(values, mask=~where)

        return pa.table(
            [
                _timestamps(self._start + used * MINUTE_US),
                self._count[used].sum(axis=1),
                self._raw_trades[used],
                qty[:, 0] + qty[:, 1],
                quote[:, 0] + quote[:, 1],
                qty[:, 0],
                qty[:, 1],
                quote[:, 0],
                quote[:, 1],
                self._count[used, 0],
                self._count[used, 1],
                self._quote_sq[used, 0],
                self._quote_sq[used, 1],
                known(self._max_quote[used, 0], bought),
                known(self._max_quote[used, 1], sold),
                known(self._price_first[used], traded),
                known(self._price_last[used], traded),
                known(self._price_high[used], traded),
                known(self._price_low[used], traded),
                known(self._first_time[used], seen).cast(TIMESTAMP),
                known(self._last_time[used], seen).cast(TIMESTAMP),
                known(self._first_id[used], seen),
                known(self._last_id[used], seen),
                self._n_bad[used],
                self._n_duplicates[used],
                self._n_out_of_order[used],
            ],
            schema=TICK_MINUTES,
        )

    def sizes(self) -> pa.Table:
        """The trade sizes: one row per hour and side with a trade, lists over non-empty bins."""
        n = self._size_n.reshape(-1, _BINS)
        rows = np.flatnonzero(n.any(axis=1))
        at, bins = np.nonzero(n[rows])
        offsets = np.concatenate([[0], np.cumsum(np.bincount(at, minlength=len(rows)))])

        def lists(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
            return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, kind))

        filled = (rows[at], bins)
        return pa.table(
            [
                _timestamps(self._start + rows // _SIDES * HOUR_US),
                pa.array(np.where(rows % _SIDES, "S", "B"), pa.string()),
                lists(bins + SMALLEST_SIZE_BIN, pa.int16()),
                lists(n[filled], pa.int64()),
                lists(self._size_quote.reshape(-1, _BINS)[filled], pa.float64()),
            ],
            schema=TICK_SIZES,
        )


def _zeros(arrays: int, n: int) -> Ints:
    return np.zeros((arrays, n), np.int64)


def _runs(minute: Ints) -> tuple[Ints, Ints]:
    """First and last rows of the runs of one minute; a minute may come in several runs."""
    changes = np.flatnonzero(minute[1:] != minute[:-1]) + 1
    return np.append(0, changes), np.append(changes, len(minute)) - 1


def _new(minute: Ints, opens: Ints, first_id: Ints) -> Ints:
    """First rows of minutes not seen before, so ordered that of several runs the first prevails."""
    fresh: Ints = opens[first_id[minute[opens]] == _NO_ID]
    return fresh[::-1]


def _timestamps(epoch_us: Ints) -> pa.Array:
    return pa.array(epoch_us).cast(TIMESTAMP)


def _iso(epoch_us: int) -> str:
    return datetime.fromtimestamp(int(epoch_us) / 1e6, UTC).replace(tzinfo=None).isoformat()


# ------------------------------------------------------------------------------------- keeping
class _Keeper:
    """Writes the ticks themselves, in row groups of a million. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(path, TICKS.schema, **parquet_options(TICKS))
        self._held: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, tape: Ticks) -> None:
        """Append rows, bad ones included."""
        columns = [*map(pa.array, tape[:5]), _timestamps(tape.time), pa.array(tape.is_buyer_maker)]
        self._held.append(pa.record_batch(columns, schema=TICKS.schema))
        self._rows += len(tape.time)
        if self._rows >= ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._held, TICKS.schema))
        self._held, self._rows = [], 0

    def __enter__(self) -> _Keeper:
        return self

    def __exit__(self, *_: object) -> None:
        if self._held:
            self._flush()
        self._writer.close()
