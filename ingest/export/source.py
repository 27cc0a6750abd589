"""The wide table, opened for reading, and the part of it that an export is asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from ingest.dictionary import FAMILIES, family_columns
from ingest.errors import UsageError
from ingest.names import unknown_symbol
from ingest.warehouse import literal, opened, quoted

TABLE = "final_dataset"
KEYS = ("symbol", "hour_ts", "bar_end_time", "feature_time")
MASKS = ("trade_allowed", "is_valid_for_training")
MEMORY_LIMIT = "1GB"  # of DuckDB, which keeps what it has read as far as this allows
BLOCK_BYTES = 256_000_000  # how much of the table is in memory at a time, at 8 bytes a value
HOUR = np.timedelta64(1, "h")

Numbers = dict[str, np.ndarray[Any, np.dtype[Any]]]


@dataclass(frozen=True)
class Column:
    """A column of the wide table."""

    name: str
    data_type: str  # of DuckDB

    @property
    def is_number(self) -> bool:
        """True for what float32 can stand for: numbers, and flags as 1 and 0."""
        return self.data_type not in ("VARCHAR", "TIMESTAMP")


@dataclass(frozen=True)
class Wish:
    """What the user asked for; None is everything."""

    columns: Sequence[str] | None = None
    families: Sequence[str] | None = None
    symbols: Sequence[str] | None = None
    start: date | None = None  # first day, UTC
    end: date | None = None  # last day, included
    mask: str | None = None  # a column that is 1 in the rows to keep


@dataclass(frozen=True)
class Span:
    """Consecutive rows of one contract: the hours in which it was listed, both ends included."""

    symbol: str
    first: np.datetime64
    last: np.datetime64
    rows: int  # that the mask lets through


@dataclass(frozen=True)
class Selection:
    """The part of the table to export: what it was asked for, checked against what there is."""

    columns: list[Column]
    spans: list[Span]  # sorted by symbol, then time
    wish: Wish
    left_out: list[str] = field(default_factory=list)  # columns that the format cannot hold

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [c.name for c in self.columns]

    @property
    def symbols(self) -> list[str]:
        """Contracts, sorted."""
        return list(dict.fromkeys(span.symbol for span in self.spans))

    @property
    def rows(self) -> int:
        """Rows that the mask lets through."""
        return sum(span.rows for span in self.spans)

    @property
    def hours(self) -> np.ndarray[Any, np.dtype[np.datetime64]]:
        """Every hour from the first to the last of any symbol, without holes."""
        first, last = min(s.first for s in self.spans), max(s.last for s in self.spans)
        return np.arange(first, last + HOUR, HOUR)

    def rows_of(self, symbol: str) -> int:
        """Rows of a symbol that the mask lets through."""
        return sum(span.rows for span in self.spans_of(symbol))

    def spans_of(self, symbol: str) -> list[Span]:
        """Spans of the contracts of a name, in order."""
        return [span for span in self.spans if span.symbol == symbol]

    def groups(self) -> Iterator[list[str]]:
        """Symbols, as many at a time as fit in a block of memory, at least one."""
        group: list[str] = []
        rows = 0
        for symbol in self.symbols:
            more = self.rows_of(symbol)
            if group and (rows + more) * len(self.columns) * 8 > BLOCK_BYTES:
                yield group
                group, rows = [], 0
            group.append(symbol)
            rows += more
        yield group


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open the wide table of a warehouse; raises what ``opened`` raises, UsageError without table.

    The file is opened read-only, so that it stays as it is while it is read.
    """
    path = path.resolve()  # of one published version, whatever is published meanwhile
    with opened(path, MEMORY_LIMIT) as connection:
        columns = {
            name: Column(name, data_type)
            for name, data_type in connection.execute(
                "select column_name, data_type from duckdb_columns() where table_name = ? "
                "and database_name = current_database() order by column_index",
                [TABLE],
            ).fetchall()
        }
        if not columns:
            raise UsageError(f"{path} holds no table {TABLE}; build it with perp build")
        yield Source(path, columns, connection)


@dataclass(frozen=True)
class Source:
    """The wide table of a DuckDB file that is open: its columns by name."""

    path: Path
    columns: dict[str, Column]
    connection: duckdb.DuckDBPyConnection

    def select(self, wish: Wish, *, numbers_only: bool, first: Sequence[str] = ()) -> Selection:
        """Check a wish against the table.

        Args:
            wish: what the user asked for.
            numbers_only: leave out columns of text, because the format has no place for them.
            first: columns that come before the wished ones in any case.

        Raises UsageError if the table lacks a column or symbol, or has no row that is asked for.
        """
        asked = [self._column(name) for name in [*first, *self._names(wish)]]
        asked = [c for c in dict.fromkeys(asked) if c.name not in KEYS]
        columns = [c for c in asked if c.is_number or not numbers_only]
        if not columns:
            raise UsageError(
                "none of the columns asked for is a number; this format holds numbers only"
            )
        self._check_symbols(wish.symbols)
        left_out = [c.name for c in asked if c not in columns]
        return Selection(columns, self._spans(wish), wish, left_out)

    def _names(self, wish: Wish) -> list[str]:
        if wish.columns is None and wish.families is None:
            return [name for name in self.columns if not name.startswith("y_")]
        names = list(wish.columns or [])
        for letter in wish.families or []:
            if letter.upper() not in FAMILIES:
                known = ", ".join(f"{k} ({' and '.join(v)})" for k, v in FAMILIES.items())
                raise UsageError(f"no family {letter!r}; choose from {known}")
            names += [c for c in family_columns(letter.upper()) if c in self.columns]
        if not names:
            raise UsageError("no column is asked for; leave --columns out for all")
        return names

    def _column(self, name: str) -> Column:
        """The column of a name; DuckDB does not tell upper from lower case, and so do we not."""
        if name.lower() == "datetime":
            name = "hour_ts"
        if name.lower().startswith("y_"):
            raise UsageError(
                f"{name} is a label, and exports hold features only: take labels from "
                "forward_returns, by symbol and hour_ts"
            )
        by_lower_case = {c.lower(): column for c, column in self.columns.items()}
        column = by_lower_case.get(name.lower())
        if column is None:
            near = difflib.get_close_matches(name.lower(), by_lower_case, n=3)
            names = ", ".join(by_lower_case[n].name for n in near)
            hint = f"did you mean {names}?" if near else "make docs lists them all"
            raise UsageError(f"{TABLE} has no column {name}; {hint}")
        return column

    def _check_symbols(self, symbols: Sequence[str] | None) -> None:
        if symbols is None:
            return
        if not symbols:
            raise UsageError("--symbols is empty; leave it out for all")
        rows = self.connection.execute("select distinct symbol from final_dataset").fetchall()
        known = {symbol for (symbol,) in rows}
        for symbol in symbols:
            if symbol not in known:
                raise unknown_symbol(symbol, known, f"{self.path.name} has")

    def _spans(self, wish: Wish) -> list[Span]:
        where, parameters = _where(wish)
        kept = f"count(*) filter ({wish.mask} = 1)" if wish.mask else "count(*)"
        columns = f"symbol, min(hour_ts) as first_hour, max(hour_ts), {kept}"
        grouped = "group by symbol, listing_segment order by symbol, first_hour"
        query = f"select {columns} from {TABLE} {where} {grouped}"  # noqa: S608 (names are checked)
        found = self.connection.execute(query, parameters).fetchall()
        if not found:
            held = self.connection.execute(
                "select min(hour_ts), max(hour_ts) from final_dataset"
            ).fetchone()
            raise UsageError(
                "no row has these symbols and days; the table holds {} to {}".format(*held or ())
            )
        return [
            Span(symbol, np.datetime64(first, "us"), np.datetime64(last, "us"), rows)
            for symbol, first, last, rows in found
        ]

    def query(
        self,
        selection: Selection,
        columns: str,
        symbols: Sequence[str] | None = None,
        hours: tuple[np.datetime64, np.datetime64] | None = None,
    ) -> tuple[str, list[Any]]:
        """SQL, with its parameters, for the rows of a selection, sorted by symbol and time.

        Args:
            selection: what is exported.
            columns: what to select, as SQL.
            symbols: only these.
            hours: only these, the first included, the last not.
        """
        where, parameters = _where(selection.wish, symbols, hours)
        if mask := selection.wish.mask:
            where += f" {'and' if where else 'where'} {mask} = 1"
        order = "order by symbol nulls last, hour_ts nulls last"
        query = f"select {columns} from {TABLE} {where} {order}"  # noqa: S608 (names are checked)
        return query, parameters

    def arrow(self, query: str, parameters: Sequence[Any]) -> pa.Table:
        """Rows of a query, of the types that the table has."""
        return self.connection.sql(query, params=parameters).to_arrow_table()

    def copy_csv(self, query: str, parameters: Sequence[Any], path: Path) -> None:
        """Write the rows of a query to a CSV file, by DuckDB itself."""
        self.connection.execute(
            f"copy ({query}) to {literal(str(path))} (format csv, header)", parameters
        )

    def numbers(
        self,
        selection: Selection,
        symbols: Sequence[str] | None = None,
        hours: tuple[np.datetime64, np.datetime64] | None = None,
    ) -> Numbers:
        """Rows of a selection as arrays: ``symbol``, ``hour_ts``, and float32 for each column.

        NULL is NaN. So is a value beyond the range of float32, which no column is meant to have.
        """
        floats = (
            f"coalesce(try_cast({quoted(name)} as float), cast('nan' as float)) as {quoted(name)}"
            for name in selection.names
        )
        columns = ", ".join(["symbol", "hour_ts", *floats])
        query, parameters = self.query(selection, columns, symbols, hours)
        result = self.connection.execute(query, parameters).fetchnumpy()
        return {name: np.asarray(values) for name, values in result.items()}


def _where(
    wish: Wish,
    symbols: Sequence[str] | None = None,
    hours: tuple[np.datetime64, np.datetime64] | None = None,
) -> tuple[str, list[Any]]:
    """The condition for symbols and times, with its parameters."""
    conditions: list[str] = []
    parameters: list[Any] = []
    if (chosen := wish.symbols if symbols is None else symbols) is not None:
        conditions.append(f"symbol in ({', '.join('?' * len(chosen))})")
        parameters += [*chosen]
    first = datetime.combine(wish.start, datetime.min.time()) if wish.start else None
    end = datetime.combine(wish.end + timedelta(days=1), datetime.min.time()) if wish.end else None
    if hours:
        first, end = (hour.astype("datetime64[us]").item() for hour in hours)
    if first:
        conditions.append("hour_ts >= ?")
        parameters.append(first)
    if end:
        conditions.append("hour_ts < ?")
        parameters.append(end)
    return ("where " + " and ".join(conditions) if conditions else ""), parameters
