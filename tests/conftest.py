"""Warehouses that many tests read: the sandbox, and genuine files. Each is built once."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from ingest.config import PROJECT_ROOT, Config
from ingest.datasets import SOURCES
from ingest.lake import Lake
from ingest.run import Options, ingest_archive
from ingest.sandbox.server import ArchiveServer
from tests.build import NO_UNIT_TESTS, dbt, read
from tests.mirror import lay_out_funding, lay_out_klines, lay_out_metrics, require_real_data
from tests.tape import ticks_of_archive

# A shell that starts the tests with & has Ctrl-C ignored, and the processes they start inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that processes that share the tests end together.

    One file makes the sandbox, which takes minutes; until it is there the other processes do what
    does not need it.
    """
    long = [i for i in items if {"warehouse", "e2e"} & set(i.path.parts)]
    needing = list(dict.fromkeys(i.path for i in long if "sandbox" in i.fixturenames))
    order = {i.path: 1 for i in long} | dict.fromkeys(needing, 2) | dict.fromkeys(needing[:1], 0)
    items.sort(key=lambda item: order.get(item.path, 3))


@dataclass
class Warehouse:
    """A lake and what dbt built from it."""

    lake: Path
    path: Path
    output: str = ""
    settlements: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    exchange: Path | None = None  # folder of the simulated exchange that the lake was made from

    def read(self, query: str) -> pd.DataFrame:
        """Rows of a query; a bare name reads the whole table."""
        return read(self.path, query)

    def inputs(self) -> dict[str, pd.DataFrame]:
        """The lake as data frames, one per dataset, with column ``symbol``; and the holidays.

        Datasets of the archive stand under their names, others under ``source/name``. Ticks are
        read from the exchange's own files: ``agg_trades`` and the days they cover.
        """
        frames = {
            "us_market_holidays": pd.read_csv(
                PROJECT_ROOT / "dbt_project/seeds/us_market_holidays.csv"
            )
        }
        datasets = [d for of_source in SOURCES.values() for d in of_source.values()]
        for dataset in (d for d in datasets if d.name != "agg_trades"):
            prefix = "" if dataset.source == "vision" else f"{dataset.source}/"
            glob = f"{self.lake}/{dataset.source}/{dataset.name}/symbol=*/month=*/data.parquet"
            order = "file_date, file_row" if dataset.name == "metrics" else "1"
            frames[prefix + dataset.name] = duckdb.sql(
                f"""select * exclude (month) from read_parquet('{glob}', hive_partitioning = true,
                hive_types = {{'symbol': varchar, 'month': varchar}}) order by symbol, {order}"""
            ).df()
        if self.exchange is not None:
            ticks, days = ticks_of_archive(self.exchange / "archive")
            frames |= {"agg_trades": ticks, "tick_days": days}
        return frames


@contextmanager
def built_once(factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """Folder that the processes of one test run share; one at a time looks whether it is there."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield shared / name


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """What `make warehouse` leaves: ingested, corrected upstream, ingested again, built, tested."""
    with built_once(tmp_path_factory, "sandbox") as folder:
        printed = folder / "printed.txt"
        exchange = folder / "exchange"
        warehouse = Warehouse(folder / "lake", folder / "w.duckdb", exchange=exchange)
        if not printed.exists():
            folder.mkdir(exist_ok=True)
            printed.write_text(make_sandbox(warehouse, exchange))
        warehouse.output = printed.read_text()
    return warehouse


def make_sandbox(warehouse: Warehouse, exchange: Path) -> str:
    """Run `perp sandbox warehouse`; returns what it prints."""
    command = [Path(sys.executable).with_name("perp"), "sandbox", "warehouse", "--folder", exchange]
    paths = {"PERP_LAKE": str(warehouse.lake), "PERP_WAREHOUSE": str(warehouse.path)}
    result = subprocess.run(
        command, env={**os.environ, **paths}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-3000:]
    return result.stdout


@pytest.fixture(scope="session")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """LINK, AVAX and ALGO months, their funding, and metrics of LINK, AVAX and BTC."""
    real = require_real_data()
    with built_once(tmp_path_factory, "genuine") as folder:
        done = folder / "settlements.json"
        if not done.exists():
            folder.mkdir(exist_ok=True)
            done.write_text(json.dumps(make_genuine(real, folder)))
        settlements = json.loads(done.read_text())
    return Warehouse(folder / "lake", folder / "w.duckdb", settlements=settlements)


def make_genuine(real: Path, folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Land genuine files and build; returns the settlements (calc_time in ms, rate) by symbol."""
    root = folder / "archive"
    symbols = lay_out_klines(real, root)
    for symbol in ("LINKUSDT", "AVAXUSDT", "BTCUSDT"):
        lay_out_metrics(real, root, symbol)
    settlements = {s: lay_out_funding(real, root, s) for s in symbols}
    with ArchiveServer(root) as server:
        config = Config(
            folder / "lake", folder / "w.duckdb", server.archive_url, server.listing_url
        )
        _, summary = ingest_archive(
            config,
            ["klines_1m", "metrics", "funding_rate"],
            [*symbols, "BTCUSDT"],
            date(2022, 1, 1),
            date(2026, 3, 31),
            Options(),
        )
    assert summary.ok, summary.problems
    dbt(config.lake, config.warehouse, "build", *NO_UNIT_TESTS)
    return settlements


@pytest.fixture
def empty_lake(tmp_path: Path) -> Path:
    """A lake that no ingest has written to yet, as ``perp`` prepares it."""
    Lake(tmp_path / "lake").prepare("sandbox")
    return tmp_path / "lake"
