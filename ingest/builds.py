"""What the warehouse says of its builds: table ``build_log``, written by dbt's hooks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

import duckdb

from ingest.errors import UsageError
from ingest.warehouse import quoted

_CHECKING_ONLY = "test"  # the one command on record that changes no table


@dataclass(frozen=True)
class Build:
    """One dbt invocation: times in UTC, tables and tests that ran, and what became of them."""

    invocation_id: str
    command: str
    started_at: datetime
    ended_at: datetime
    is_whole: bool  # nothing was left out by a selection, tests included
    n_models: int  # tables, views and seeds
    n_tests: int
    n_errors: int
    n_warnings: int
    n_skipped: int

    @property
    def name(self) -> str:
        """For messages: ``dbt build of 2024-03-11 06:00``."""
        return f"dbt {self.command} of {self.started_at:%Y-%m-%d %H:%M:%S} UTC"


def publishable(connection: duckdb.DuckDBPyConnection, warehouse: str) -> Build:
    """The build that made the tables as they stand, if it was whole and without error.

    Args:
        warehouse: name of the attached warehouse.

    Raises UsageError, which says what is wrong with the last build.
    """
    builds = _builds(connection, warehouse)
    made = [b for b in builds if b.n_models]
    if not made:
        raise UsageError("the warehouse has no build on record; run: perp build")
    last = made[-1]
    again = "nothing is published; mend it, then run: perp build"
    if last.n_errors or last.n_skipped:
        raise UsageError(
            f"the {last.name} ended with {last.n_errors} errors and {last.n_skipped} skipped "
            f"(logs/dbt.log names them): {again}"
        )
    if begun := _begun_since(connection, warehouse, last):
        raise UsageError(f"the {begun} did not end, its tables may be half new: {again}")
    if not last.is_whole:
        raise UsageError(
            f"the {last.name} left out models or tests, so that the tables do not belong "
            f"together: {again}"
        )
    for later in builds[builds.index(last) + 1 :]:
        if later.n_errors:
            raise UsageError(
                f"tests have failed since the build: {later.n_errors} in the {later.name}: {again}"
            )
    return last


def _builds(connection: duckdb.DuckDBPyConnection, warehouse: str) -> list[Build]:
    """All builds on record, oldest first."""
    if not _has(connection, warehouse, "build_log"):
        return []
    columns = ", ".join(f.name for f in fields(Build))
    rows = connection.execute(
        f"select {columns} from {quoted(warehouse)}.main.build_log order by ended_at"  # noqa: S608
    ).fetchall()
    return [Build(*row) for row in rows]


def _begun_since(connection: duckdb.DuckDBPyConnection, warehouse: str, last: Build) -> str | None:
    """A run that began after a build, changes tables and has no row in the log."""
    if not _has(connection, warehouse, "build_starts"):
        return None
    row = connection.execute(
        f"""
        select command, started_at from {quoted(warehouse)}.main.build_starts
        where
            started_at > ? and command <> '{_CHECKING_ONLY}'
            and invocation_id not in (
                select invocation_id from {quoted(warehouse)}.main.build_log
            )
        order by started_at desc
        """,  # noqa: S608
        [last.started_at],
    ).fetchone()
    return f"dbt {row[0]} of {row[1]:%Y-%m-%d %H:%M:%S} UTC" if row else None


def _has(connection: duckdb.DuckDBPyConnection, warehouse: str, table: str) -> bool:
    found = connection.execute(
        "select 1 from duckdb_tables() "
        "where database_name = ? and schema_name = 'main' and table_name = ?",
        [warehouse, table],
    ).fetchone()
    return found is not None
