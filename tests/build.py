"""Run dbt on a lake and read what it built."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd

from ingest.config import PROJECT_ROOT

NO_UNIT_TESTS = ("--exclude-resource-type", "unit_test")  # they read no lake; the sandbox runs them


def dbt(lake: Path, warehouse: Path, *args: str, **variables: object) -> str:
    """Run a dbt command in the project; returns its output, fails the test if it fails."""
    result = try_dbt(lake, warehouse, *args, **variables)
    assert result.returncode == 0, result.stdout[-6000:]
    return result.stdout


def try_dbt(
    lake: Path, warehouse: Path, *args: str, **variables: object
) -> subprocess.CompletedProcess[str]:
    """Run a dbt command in the project with its own target folder beside the warehouse."""
    target = warehouse.with_suffix(".target")
    quick = ("--no-use-colors", "--no-write-json", "--log-level-file", "none")
    command = [Path(sys.executable).with_name("dbt"), *quick, *args]
    command += ["--target-path", target, "--log-path", target]
    if variables:
        command += ["--vars", json.dumps(variables)]
    return subprocess.run(
        command,
        cwd=PROJECT_ROOT,
        env={**os.environ, "PERP_LAKE": str(lake), "PERP_WAREHOUSE": str(warehouse)},
        capture_output=True,
        text=True,
        check=False,
    )


def read(warehouse: Path, query: str) -> pd.DataFrame:
    """Rows of a query on a built warehouse; a bare name reads the whole table."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        return connection.execute(query if " " in query else f"from {query}").df()
