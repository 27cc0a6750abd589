"""What the warehouse says of its builds: table ``build_log``, written by dbt's hooks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from ingest.config import PROJECT_ROOT, Config
from ingest.errors import UsageError
from ingest.lake import Lake
from ingest.warehouse import memory_limit, opened, quoted

_CHECKING_ONLY = "test"  # the one command on record that changes no table
_TAIL = 1 << 20  # bytes at the end of a log file that surely hold its last line
_OF_DBT = ("dbt_project", "macros", "tests/dbt", "dbt_project.yml", "profiles.yml")


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
    if not has_table(connection, warehouse, "build_log"):
        return []
    columns = ", ".join(f.name for f in fields(Build))
    rows = connection.execute(
        f"select {columns} from {quoted(warehouse)}.main.build_log order by ended_at"  # noqa: S608
    ).fetchall()
    return [Build(*row) for row in rows]


def _begun_since(connection: duckdb.DuckDBPyConnection, warehouse: str, last: Build) -> str | None:
    """A run that began after a build, changes tables and has no row in the log."""
    if not has_table(connection, warehouse, "build_starts"):
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


def has_table(connection: duckdb.DuckDBPyConnection, warehouse: str, table: str) -> bool:
    """Whether an attached warehouse has a table of that name."""
    found = connection.execute(
        "select 1 from duckdb_tables() "
        "where database_name = ? and schema_name = 'main' and table_name = ?",
        [warehouse, table],
    ).fetchone()
    return found is not None


def reason_to_build(config: Config) -> str | None:
    """Why the warehouse is not what the lake and the models would make of it; None if it is."""
    if not config.warehouse.exists():
        return f"there is no warehouse {config.warehouse} yet"
    with opened(config.warehouse, memory_limit()) as connection:
        try:
            last = publishable(connection, config.warehouse.stem)
        except UsageError as error:
            return re.split("[:;] ", str(error))[0]
    landed = last_landing(Lake(config.lake))
    if landed and landed > last.started_at:
        return f"data has landed since the {last.name}"
    edited, path = last_edit()
    if edited > last.started_at:
        return f"{path} has changed since the {last.name}"
    return None


def last_landing(lake: Lake) -> datetime | None:
    """When the newest record of the landing log was written (UTC)."""
    logs = lake.store.sizes(lake.log_folder, "*.jsonl")
    moments = []
    for handle in lake.store.open_each([(p, max(n - _TAIL, 0)) for p, n in logs.items()]):
        lines = handle.read().split(b"\n")[:-1]  # what follows the last end is a torn line
        if lines:
            moments.append(datetime.fromisoformat(json.loads(lines[-1])["landed_at"]))
    return max(moments, default=None)


def last_edit() -> tuple[datetime, Path]:
    """When (UTC) which file of the dbt project was changed last.

    A folder counts too, for what was deleted; but not one in which Python puts its bytecode.
    """
    paths = [PROJECT_ROOT / name for name in _OF_DBT]
    paths += [p for root in paths for p in root.rglob("*") if "__pycache__" not in p.parts]
    at, path = max((p.stat().st_mtime, p) for p in paths if not (p / "__pycache__").exists())
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None), path.relative_to(PROJECT_ROOT)
