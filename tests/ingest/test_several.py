"""Several workers and several processes on one lake: everything once, whoever dies."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from ingest.config import Config
from ingest.lake import Lake
from ingest.sandbox import server as faults
from ingest.sandbox.server import ArchiveServer
from tests.ingest.conftest import Archive, lake_contents
from tests.ingest.test_kill import PERP
from tests.mirror import put_zip

SYMBOLS = ("ADAUSDT", "BTCUSDT", "ETHUSDT", "XRPUSDT")
JANUARY = 1_704_067_200_000
ROWS = 250_000


def month_of_ticks(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    ids = np.arange(1, ROWS + 1)
    table = pa.table(
        [
            ids,
            rng.integers(9_000, 11_000, ROWS) / 100,
            rng.integers(1, 5_000, ROWS) / 1000,
            2 * ids,
            2 * ids + 1,
            JANUARY + np.sort(rng.integers(0, 31 * 86_400_000, ROWS)),
            rng.random(ROWS) < 0.5,
        ],
        names=[str(i) for i in range(7)],
    )
    sink = io.BytesIO()
    pacsv.write_csv(table, sink, pacsv.WriteOptions(include_header=False))
    return sink.getvalue()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    root = tmp_path_factory.mktemp("several") / "archive"
    for seed, symbol in enumerate(SYMBOLS):
        bars = f"data/futures/um/monthly/klines/{symbol}/1m/{symbol}-1m-2024-01.zip"
        put_zip(root, bars, b"")  # every contract is known by its bars
        key = f"data/futures/um/monthly/aggTrades/{symbol}/{symbol}-aggTrades-2024-01.zip"
        put_zip(root, key, month_of_ticks(seed))
    with ArchiveServer(root) as server:
        nowhere = root.parent / "unused"
        config = Config(nowhere, nowhere, server.archive_url, server.listing_url)
        yield Archive(root, server, config)


@pytest.fixture
def ticks(served: Archive) -> Iterator[Archive]:
    yield served
    served.server.always.clear()


@pytest.fixture(scope="module")
def expected(served: Archive, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    lake = tmp_path_factory.mktemp("expected") / "lake"
    end(start(served, lake))
    whole = lake_contents(lake)
    assert sum("USDT" in path for path in whole) == 3 * len(SYMBOLS)
    return whole


def start(archive: Archive, lake: Path, symbols: tuple[str, ...] = SYMBOLS):
    """A perp process of its own session, so that killing it kills nothing else."""
    env = {
        **os.environ,
        "PERP_LAKE": str(lake),
        "PERP_ARCHIVE_URL": archive.server.archive_url,
        "PERP_ARCHIVE_LISTING_URL": archive.server.listing_url,
    }
    command = [
        str(PERP), "ingest", "archive", "--symbols", ",".join(symbols), "--start", "2024-01-01",
        "--end", "2024-01-31", "--datasets", "agg_trades_1m", "--keep-ticks", "--workers", "1",
    ]  # fmt: skip
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out, err


def landings(lake: Path) -> Counter[tuple[str, str, str]]:
    return Counter(r.key for r in Lake(lake).history("vision") if r.status == "landed")


def wait_until(reached: Callable[[], bool], *running: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        assert all(p.poll() is None for p in running), "it ended before the point was reached"


def test_two_processes_share_the_work_and_do_nothing_twice(
    ticks: Archive, tmp_path: Path, expected: dict[str, str]
):
    lake = tmp_path / "lake"
    asked = len(ticks.server.downloads)
    both = [start(ticks, lake), start(ticks, lake)]
    for process in both:
        end(process)
    assert lake_contents(lake) == expected
    assert set(landings(lake).values()) == {1}
    zips = [x for x in ticks.server.downloads[asked:] if x.endswith(".zip")]
    assert sorted(zips) == sorted(set(zips)), "no file was downloaded twice"
    assert "0 landed, 4 up to date" in end(start(ticks, lake))[0]


POINTS: dict[str, Callable[[Path], bool]] = {
    "in a download": lambda lake: any(lake.glob("_tmp/**/*.part")),
    "in the middle of a file": lambda lake: any(lake.glob("_tmp/**/*.parquet.*.tmp")),
    "while writing a partition": lambda lake: any(lake.glob("vision/*/*USDT/*/*.tmp")),
    "with files committed but not logged": lambda lake: any(
        lake.glob("vision/agg_trade_sizes_1h/*USDT/*/data.parquet")
    ),
}


@pytest.mark.parametrize("point", POINTS)
def test_one_of_two_is_killed_and_the_other_finishes_the_job(
    ticks: Archive, tmp_path: Path, expected: dict[str, str], point: str
):
    lake = tmp_path / "lake"
    if point == "in a download":
        for path in ticks.root.rglob("*aggTrades*.zip"):
            key = path.relative_to(ticks.root).as_posix()
            ticks.server.always[key] = faults.trickle(1_000_000, 0.02)
    victim = start(ticks, lake)
    wait_until(lambda: any(lake.glob("_tmp/**/*.zip*")), victim)
    survivor = start(ticks, lake)
    wait_until(lambda: POINTS[point](lake), victim)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert victim.returncode == -signal.SIGKILL
    end(survivor)
    assert lake_contents(lake) == expected
    assert set(landings(lake).values()) == {1}
    assert "0 landed, 4 up to date" in end(start(ticks, lake))[0]
    assert not list((lake / "_tmp").rglob("*.*"))


def test_a_worker_that_dies_is_replaced_and_its_file_read_again(
    ticks: Archive, tmp_path: Path, expected: dict[str, str]
):
    lake = tmp_path / "lake"
    process = start(ticks, lake)
    wait_until(lambda: any(lake.glob("_tmp/**/*.parquet.*.tmp")), process)
    (writing,) = lake.glob("_tmp/**/*.parquet.*.tmp")
    worker = int(writing.name.split(".")[-2])
    assert worker != process.pid
    os.kill(worker, signal.SIGKILL)
    _, err = end(process)
    assert "a worker process died; its work is done again" in err
    assert lake_contents(lake) == expected
    assert set(landings(lake).values()) == {1}


def test_a_file_that_kills_every_worker_fails_alone(ticks: Archive, tmp_path: Path):
    lake = tmp_path / "lake"
    process = start(ticks, lake)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        for writing in lake.glob("_tmp/vision/*/ADAUSDT/*/*.parquet.*.tmp"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(writing.name.split(".")[-2]), signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 1
    assert "3 landed, 0 up to date, 0 absent upstream, 0 quarantined, 1 failed" in out
    assert "ADAUSDT-aggTrades-2024-01.zip: its worker process died 3 times" in out
    assert "Traceback" not in err
    ticks.server.always.clear()
    assert "1 landed, 3 up to date" in end(start(ticks, lake))[0]


def test_an_interrupted_run_goes_on_with_the_files_it_had_not_read(ticks: Archive, tmp_path: Path):
    """Days of the running month: those decoded before the kill are neither fetched nor read."""
    lake = tmp_path / "lake"
    for day in range(1, 5):
        lines = month_of_ticks(day).splitlines()
        own = [x for x in lines if (int(x.split(b",")[5]) - JANUARY) // 86_400_000 == day - 1]
        key = "data/futures/um/daily/aggTrades/BNBUSDT/BNBUSDT-aggTrades-2024-01-0"
        put_zip(ticks.root, f"{key}{day}.zip", b"\n".join(own))
    bars = "data/futures/um/monthly/klines/BNBUSDT/1m/BNBUSDT-1m-2024-01.zip"
    put_zip(ticks.root, bars, b"")
    ticks.server.refresh()
    last = f"{key}4.zip"
    ticks.server.always[last] = faults.trickle(2_000, 0.05)
    process = start(ticks, lake, ("BNBUSDT",))
    wait_until(lambda: len(list(lake.glob("_tmp/**/*.agg_trades_1m.arrow"))) == 3, process)
    process.kill()
    process.communicate()
    ticks.server.always.clear()
    asked = len(ticks.server.downloads)
    end(start(ticks, lake, ("BNBUSDT",)))
    zips = [x for x in ticks.server.downloads[asked:] if x.endswith(".zip")]
    assert zips == [last]
    record = Lake(lake).state("vision")["agg_trades_1m", "BNBUSDT", "2024-01"]
    assert len(record.files) == 4
