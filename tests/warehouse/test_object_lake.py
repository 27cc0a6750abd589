"""Models on a lake in a bucket: addresses, DuckDB's settings, and what is said without httpfs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from ingest.config import PROJECT_ROOT
from ingest.lake import Lake, LandingLog
from ingest.store import lake_path
from tests.object_server import BUCKET, ObjectServer
from tests.operations.conftest import land_hours

ADDRESS = f"s3://{BUCKET}/some/lake"


def has_httpfs() -> bool:
    """Whether DuckDB's extension is installed on this machine; nothing here downloads it."""
    try:
        duckdb.connect().execute("load httpfs")
    except duckdb.Error:
        return False
    return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where dbt keeps what it found when it parsed the project, and the warehouse."""
    return tmp_path_factory.mktemp("dbt")


def dbt(folder: Path, *arguments: str) -> str:
    """Run dbt on the lake in the bucket; returns what it printed."""
    paths = {"PERP_LAKE": ADDRESS, "PERP_WAREHOUSE": str(folder / "w.duckdb")}
    where = ["--target-path", str(folder / "target"), "--log-path", str(folder)]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dbt")), "--quiet", *arguments, *where],
        cwd=PROJECT_ROOT, env={**os.environ, **paths}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_models_read_the_address_with_the_settings_of_its_server(folder: Path):
    inline = """
        {{ source('vision', 'klines_1h') }}
        {{ source('tardis', 'liquidations') }}
        {{ source('lake', 'landing_log') }}
        {{ s3_settings('') }}
        {{ s3_settings('http://127.0.0.1:9000/') | join('; ') }}
        {{ s3_settings('https://store.example') | join('; ') }}
    """
    out = dbt(folder, "compile", "--inline", inline)
    assert f"'{ADDRESS}/vision/klines_1h/symbol=*/month=*/data.parquet'" in out
    assert f"'{ADDRESS}/tardis/liquidations/symbol=*/month=*/data.parquet'" in out
    assert f"'{ADDRESS}/_log/*.jsonl'" in out
    aws, loopback, other = (line.strip() for line in out.strip().splitlines()[-3:])
    assert aws == "[]"
    assert loopback == "s3_endpoint = '127.0.0.1:9000'; s3_use_ssl = false; s3_url_style = 'path'"
    assert other == "s3_endpoint = 'store.example'; s3_use_ssl = true; s3_url_style = 'path'"


@pytest.mark.skipif(has_httpfs(), reason="DuckDB's httpfs is installed here")
def test_without_httpfs_a_build_says_what_to_do(folder: Path):
    out = dbt(folder, "run", "--select", "stg_vision__klines_1h")
    assert f"DuckDB reads the lake '{ADDRESS}' with its extension httpfs" in out
    assert "duckdb.execute('install httpfs')" in out


@pytest.mark.skipif(not has_httpfs(), reason="DuckDB's httpfs is not installed here")
def test_with_httpfs_models_read_what_has_landed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with ObjectServer() as server:
        for name, value in (server.environment | {"PERP_SCRATCH": str(tmp_path / "s")}).items():
            monkeypatch.setenv(name, value)
        lake = Lake(lake_path(ADDRESS))
        lake.prepare("sandbox")
        with contextlib.closing(LandingLog(lake.log_folder, "vision")) as log:
            land_hours(lake, log, "BTCUSDT", "2024-01", 48)
        chosen = ("stg_vision__klines_1h", "stg_vision__funding_rate", "stg_lake__landing_log")
        dbt(folder, "run", "--select", *chosen)
        with duckdb.connect(str(folder / "w.duckdb")) as warehouse:
            warehouse.execute("load httpfs")
            for setting in ("s3_use_ssl = false", "s3_url_style = 'path'"):
                warehouse.execute(f"set global {setting}")
            place = server.environment["AWS_ENDPOINT_URL"].removeprefix("http://")
            warehouse.execute(f"set global s3_endpoint = '{place}'")
            found = [
                warehouse.execute(f"select count(*) from {name}").fetchone() for name in chosen
            ]
        assert found == [(48,), (0,), (1,)]
        assert "a-secret-of-tests" not in (folder / "dbt.log").read_text()
