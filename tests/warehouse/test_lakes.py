"""Lakes that are not there, hold nothing, or hold one row."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from ingest.config import PROJECT_ROOT
from ingest.lake import LandingLog, LandingRecord
from tests.build import NO_UNIT_TESTS, dbt, read, try_dbt
from tests.lakes import land, minute_bars


def test_no_lake_says_what_to_do(tmp_path: Path):
    result = try_dbt(tmp_path / "nowhere", tmp_path / "w.duckdb", "build")
    assert result.returncode != 0
    assert "The lake 'lake' holds no data yet" in result.stdout
    assert "make warehouse" in result.stdout
    assert "perp ingest archive" in result.stdout


def test_a_lake_without_landings_says_the_same(empty_lake: Path, tmp_path: Path):
    result = try_dbt(empty_lake, tmp_path / "w.duckdb", "build")
    assert result.returncode != 0
    assert "holds no data yet" in result.stdout


def test_a_lake_of_absences_builds_empty_tables(empty_lake: Path, tmp_path: Path):
    log = LandingLog(empty_lake / "_log", "vision")
    log.append(
        LandingRecord(
            "vision", "klines_1m", "BTCUSDT", "2024-01", "absent_upstream",
            "2024-01-01", "2024-01-31",
        )
    )  # fmt: skip
    log.close()
    with log.path.open("a") as handle:
        handle.write('{"source": "vision", "data')  # a writer was killed here
    dbt(empty_lake, tmp_path / "w.duckdb", "build", *NO_UNIT_TESTS)
    assert read(tmp_path / "w.duckdb", "final_dataset").empty
    assert len(read(tmp_path / "w.duckdb", "landing_log")) == 1


def test_one_minute_is_one_row(tmp_path: Path):
    row = {"open_time": [pd.Timestamp("2024-01-01 05:59")], "open": 10.0, "high": 11.0, "low": 9.0,
           "close": 10.5, "volume": 4.0}  # fmt: skip
    land(tmp_path / "lake", minute_bars("BTCUSDT", pd.DataFrame(row)))
    dbt(tmp_path / "lake", tmp_path / "w.duckdb", "build", *NO_UNIT_TESTS)
    (final,) = read(tmp_path / "w.duckdb", "final_dataset").to_dict("records")
    assert (final["symbol"], final["n_minutes"], final["close"]) == ("BTCUSDT", 1, 10.5)
    assert final["vwap_quote"] == 10.5
    assert final["vwap"] == pytest.approx((11 + 9 + 10.5) / 3, rel=1e-14)


def test_plain_dbt_works_in_the_project_folder():
    """No flag, no environment: the profile stands beside the project."""
    dbt_program = Path(sys.executable).with_name("dbt")
    listed = subprocess.run(
        [dbt_program, "--quiet", "ls", "--resource-type", "model", "--output", "json"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = {
        json.loads(line)["name"] for line in listed.stdout.splitlines() if line.startswith("{")
    }
    assert {"final_dataset", "coverage", "gaps", "reconciliation", "landing_log"} <= names
