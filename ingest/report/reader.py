"""What the sections read from: a DuckDB file, opened read-only, of which tables may be missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from ingest.warehouse import memory_limit, opened

Section = dict[str, Any]  # what a section hands to the page: JSON
_DIGITS = 6


@dataclass
class Reader:
    """A connection and the tables that it sees.

    Attributes:
        columns: names and types of the columns of each table.
        start, end: only times in [start, end) are reported.
    """

    connection: duckdb.DuckDBPyConnection
    columns: dict[str, dict[str, str]]
    start: datetime
    end: datetime

    def lacks(self, table: str, *columns: str) -> str | None:
        """Why a section cannot be shown; None if the table is there with these columns."""
        if table not in self.columns:
            return f"This warehouse has no table {table}. Build it with: perp build"
        missing = [c for c in columns if c not in self.columns[table]]
        if missing:
            return f"The table {table} has no column {', '.join(missing)}."
        return None

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a query. ``from_ts`` and ``to_ts`` in it are the limits of the report."""
        limits = {"from_ts": "getvariable('from_ts')", "to_ts": "getvariable('to_ts')"}
        for name, expression in limits.items():
            query = query.replace(f":{name}", expression)
        return self.connection.execute(query, list(values)).fetchall()

    def one(self, query: str, *values: object) -> tuple[Any, ...]:
        """The only row of a query."""
        return self.rows(query, *values)[0]


@contextmanager
def open_warehouse(path: Path, start: datetime, end: datetime) -> Iterator[Reader]:
    """Open a warehouse, to report what it holds of [start, end); raises what ``opened`` raises."""
    with opened(path, memory_limit()) as connection:
        connection.execute("set variable from_ts = cast(? as timestamp)", [start])
        connection.execute("set variable to_ts = cast(? as timestamp)", [end])
        columns: dict[str, dict[str, str]] = {}
        for table, column, kind in connection.execute(
            """
            select table_name, column_name, data_type
            from duckdb_columns()
            where not internal and database_name = current_database() and schema_name = 'main'
            order by table_name, column_index
            """
        ).fetchall():
            columns.setdefault(table, {})[column] = kind
        yield Reader(connection, columns, start, end)


def short(value: float | None) -> float | None:
    """A number with as many digits as a chart can show; None where it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")


def moment(value: datetime | None) -> str | None:
    """A time for people, UTC: ``2024-01-31 05:00``."""
    return None if value is None else f"{value:%Y-%m-%d %H:%M}"


def table(
    columns: Iterable[tuple[str, str, str]], rows: Iterable[Iterable[object]], **more: object
) -> Section:
    """A table of the page.

    Args:
        columns: title, kind and explanation of each; kinds are text, code, time, count (whole
            numbers), number, signed (a number that is sorted by its size), index, share (0 to 1),
            bytes, hours, spark (two histograms), bars, describe (a name whose meaning is in the
            hidden column) and hidden.
        rows: their cells.
        more: ``sort`` (column, "up" or "down"), ``choose`` (columns with a list to choose from),
            ``note``.
    """
    heads = [{"title": t, "kind": k, "hint": h} for t, k, h in columns]
    return {"columns": heads, "rows": [list(r) for r in rows], **more}
