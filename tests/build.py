"""Run dbt on a lake and read what it built."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import pandas as pd

from ingest.config import PROJECT_ROOT

TARGETS = tempfile.TemporaryDirectory(prefix="dbt-targets-")
atexit.register(TARGETS.cleanup)
NO_UNIT_TESTS = ("--exclude-resource-type", "unit_test")  # they read no lake; the sandbox runs them


def dbt(lake: Path, warehouse: Path, *args: str, **variables: object) -> str:
    """Run a dbt command in the project; returns its output, fails the test if it fails."""
    result = try_dbt(lake, warehouse, *args, **variables)
    assert result.returncode == 0, result.stdout[-6000:]
    return result.stdout


def try_dbt(
    lake: Path, warehouse: Path, *args: str, **variables: object
) -> subprocess.CompletedProcess[str]:
    """Run a dbt command of the project in the warehouse's folder.

    The lake is beside it or gets a link there. So every run has the same paths, and dbt can use
    again what it found when it parsed the project with the same variables.
    """
    beside = warehouse.with_name("lake")
    if lake != beside and not beside.is_symlink():
        beside.symlink_to(lake)
    assert beside.resolve() == lake.resolve(), f"{beside} is a link to another lake"
    variables_json = json.dumps(variables)
    target = Path(TARGETS.name) / hashlib.sha256(variables_json.encode()).hexdigest()[:8]
    quick = ("--no-use-colors", "--no-write-json", "--log-level-file", "none")
    command = [Path(sys.executable).with_name("dbt"), *quick, *args, "--vars", variables_json]
    command += ["--project-dir", PROJECT_ROOT, "--profiles-dir", PROJECT_ROOT]
    command += ["--target-path", target, "--log-path", target]
    paths = {"PERP_LAKE": beside.name, "PERP_WAREHOUSE": warehouse.name}
    return subprocess.run(
        command,
        cwd=warehouse.parent,
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
        check=False,
    )


def connect(warehouse: Path) -> duckdb.DuckDBPyConnection:
    """Read-only connection; views find the lake from the warehouse's folder, as dbt did."""
    settings = {"file_search_path": str(warehouse.parent)}
    return duckdb.connect(str(warehouse), read_only=True, config=settings)


def read(warehouse: Path, query: str) -> pd.DataFrame:
    """Rows of a query on a built warehouse; a bare name reads the whole table."""
    with connect(warehouse) as connection:
        return connection.execute(query if " " in query else f"from {query}").df()
