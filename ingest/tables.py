"""What of a warehouse is published: its tables, their months, and what these were built from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import duckdb

from ingest.builds import has_table
from ingest.names import month_bounds
from ingest.warehouse import quoted

TIMES = ("hour_ts", "bar_ts")  # of hourly and finer tables
TIMELESS = "none"  # how build_states names the month of what has none

_OF_BUILDS = ("build_starts", "build_states", "landings")  # what builds go by
_READ_BY_PEOPLE = ("int_liquidations",)  # besides marts, quality tables and seeds


@dataclass(frozen=True)
class Table:
    """A table of the warehouse; ``columns`` are (name, type, comment).

    ``months``: rows of each month, of a series. ``states``: how many these are, and from what and
    when they were built; none if that is not on record.
    """

    name: str
    comment: str | None
    columns: tuple[tuple[str, str, str | None], ...]
    rows: int
    months: dict[str, int] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Names of its columns."""
        return [name for name, _, _ in self.columns]

    @property
    def time(self) -> str | None:
        """The first column that says when."""
        of_type = [n for n, kind, _ in self.columns if kind in ("TIMESTAMP", "DATE")]
        return next((n for n in (*TIMES, *of_type, "month") if n in self.names), None)

    @property
    def keys(self) -> list[str]:
        """Columns to sort by."""
        return [n for n in ("symbol", self.time) if n in self.names and n]

    @property
    def is_series(self) -> bool:
        """True for rows of a symbol and hour, or quarter of an hour: these become Parquet."""
        return "symbol" in self.names and self.time in TIMES

    @property
    def types(self) -> dict[str, str]:
        """Its columns' types by name."""
        return {name: kind for name, kind, _ in self.columns}

    @property
    def cells(self) -> int:
        """How many values it holds."""
        return self.rows * len(self.columns)

    def within(self, month: str) -> str:
        """Condition for the rows of a month, of a series."""
        first, after = month_bounds(month)
        return f"{self.time} >= timestamp '{first}' and {self.time} < timestamp '{after}'"


def published_tables(connection: duckdb.DuckDBPyConnection, source: str) -> list[Table]:
    """What readers query: marts, quality tables, seeds and the build log, but no steps between."""
    states = _states(connection, source)
    found = connection.execute(
        """
        select table_name as name, comment from duckdb_tables()
        where database_name = $1 and schema_name = 'main' and not internal
        union all
        select view_name as name, comment from duckdb_views()
        where database_name = $1 and schema_name = 'main' and not internal
        order by name
        """,
        [source],
    ).fetchall()
    tables = []
    for name, comment in found:
        inner = name.startswith(("stg_", "int_")) or "__dbt_" in name or name in _OF_BUILDS
        if inner and name not in _READ_BY_PEOPLE:
            continue
        columns = connection.execute(
            "select column_name, data_type, comment from duckdb_columns() "
            "where database_name = ? and schema_name = 'main' and table_name = ? "
            "order by column_index",
            [source, name],
        ).fetchall()
        count = connection.execute(
            f"select count(*) from {quoted(source)}.main.{quoted(name)}"  # noqa: S608
        ).fetchone()
        table = Table(name, comment, tuple(columns), count[0] if count else 0)
        tables.append(_with_months(connection, source, table, states.get(name, {})))
    return tables


def _with_months(
    connection: duckdb.DuckDBPyConnection, source: str, table: Table, states: dict[str, str]
) -> Table:
    """The table with its months, and their states unless rows are in others too."""
    relation = f"{quoted(source)}.main.{quoted(table.name)}"
    months = rows_of_months(connection, relation, table)
    known = states if months.keys() <= states.keys() else {}
    counted = {month: f"{months.get(month, 0)} rows, {state}" for month, state in known.items()}
    return replace(table, months=months, states=counted)


def _states(connection: duckdb.DuckDBPyConnection, source: str) -> dict[str, dict[str, str]]:
    """From what and when the months of every table were built; of views, those of what they read.

    A row of a view is taken to be made from rows of its month and of earlier ones, as everywhere.
    """
    if not has_table(connection, source, "build_states"):
        return {}
    found = connection.execute(
        f"""
        select name, month, max_by(state, recorded_at) as last_state, max(recorded_at)
        from {quoted(source)}.main.build_states
        group by name, month
        having last_state <> ''
        order by name, month
        """  # noqa: S608
    ).fetchall()
    states: dict[str, dict[str, str]] = {}
    for name, month, state, recorded_at in found:
        states.setdefault(name, {})[month] = f"{state} at {recorded_at.isoformat()}"
    relations = connection.execute(
        """
        select table_name as name, null as sql from duckdb_tables()
        where database_name = $1 and schema_name = 'main'
        union all
        select view_name as name, sql from duckdb_views()
        where database_name = $1 and schema_name = 'main'
        """,
        [source],
    ).fetchall()
    for name, sql in relations:
        if sql:
            below = [
                n for n, _ in relations if n != name and re.search(rf"\b{re.escape(n)}\b", sql)
            ]
            states[name] = _states_of_view(sql, [states.get(n, {}) for n in below])
    return states


def _states_of_view(sql: str, below: Sequence[dict[str, str]]) -> dict[str, str]:
    """States of a view over tables with these; none if those of one of them are not known."""
    if not below or not all(below):
        return {}
    timeless = [sql, *(each.get(TIMELESS) for each in below)]
    months = {month for each in below for month in each} - {TIMELESS} or {TIMELESS}
    return {
        month: hashlib.sha256(
            repr([timeless, [each.get(month) for each in below]]).encode()
        ).hexdigest()
        for month in sorted(months)
    }


def rows_of_months(
    connection: duckdb.DuckDBPyConnection, relation: str, table: Table
) -> dict[str, int]:
    """How many rows a series has in each month, as it stands in a relation."""
    if not table.is_series:
        return {}
    found = connection.execute(
        f"select date_trunc('month', {table.time}), count(*) from {relation} group by 1 order by 1"  # noqa: S608
    ).fetchall()
    return {f"{month:%Y-%m}": rows for month, rows in found}
