"""kill -9 at any point, run again: the lake is the same as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ingest.sandbox import server as faults
from tests.ingest.conftest import Archive, hour_bars, lake_contents
from tests.mirror import put_zip

PERP = Path(sys.executable).with_name("perp")
SYMBOLS = ("ADAUSDT", "BNBUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")


def command(archive: Archive, lake: Path) -> tuple[list[str], dict[str, str]]:
    env = {
        **os.environ,
        "PERP_LAKE": str(lake),
        "PERP_ARCHIVE_URL": archive.server.archive_url,
        "PERP_ARCHIVE_LISTING_URL": archive.server.listing_url,
    }
    args = [
        str(PERP), "ingest", "archive", "--symbols", ",".join(SYMBOLS),
        "--start", "2024-01-01", "--end", "2024-02-05", "--datasets", "klines_1h,klines_1m",
    ]  # fmt: skip
    return args, env


def fill(archive: Archive) -> None:
    from datetime import date

    for symbol in SYMBOLS:
        archive.put_month(symbol, "2024-01", skip=(9,))
        archive.put(symbol, "2024-01-09", hour_bars(date(2024, 1, 9)))
        for day in range(1, 6):
            archive.put(symbol, f"2024-02-{day:02d}", hour_bars(date(2024, 2, day)))
        start = 1_704_067_200_000
        minutes = "\n".join(
            f"{t},10,11,9,10,5,{t + 59_999},50,3,2,20,0"
            for t in range(start, start + 31 * 86_400_000, 60_000)
        )
        put_zip(
            archive.root,
            f"data/futures/um/monthly/klines/{symbol}/1m/{symbol}-1m-2024-01.zip",
            minutes.encode(),
        )
    archive.server.refresh()


def lines(lake: Path) -> int:
    return sum(p.read_bytes().count(b"\n") for p in lake.glob("_log/*.jsonl"))


POINTS: dict[str, Callable[[Archive, Path], bool]] = {
    "while listing": lambda a, lake: bool(a.server.requests),
    "in a download": lambda a, lake: any(lake.glob("_tmp/**/*.part")),
    "between download and decoding": lambda a, lake: any(lake.glob("_tmp/**/*.zip")),
    "between decoding and commit": lambda a, lake: any(lake.glob("_tmp/**/*.arrow")),
    "while writing Parquet": lambda a, lake: any(lake.glob("vision/*/*USDT/*/*.tmp")),
    "between commit and log": lambda a, lake: any(lake.glob("vision/*/*USDT/*/data.parquet")),
    "after one log line": lambda a, lake: lines(lake) >= 1,
    "after many log lines": lambda a, lake: lines(lake) >= 9,
}
SOME = ("in a download", "between decoding and commit", "between commit and log")
OTHERS = tuple(point for point in POINTS if point not in SOME)


@pytest.mark.parametrize("points", [SOME, pytest.param(OTHERS, marks=pytest.mark.deep)])
def test_killed_anywhere_it_resumes_to_the_same_lake(
    archive: Archive, tmp_path: Path, points: tuple[str, ...]
):
    fill(archive)
    args, env = command(archive, tmp_path / "reference")
    subprocess.run(args, env=env, check=True, capture_output=True)
    expected = lake_contents(tmp_path / "reference")
    assert len(expected) > 3 * len(SYMBOLS)

    for path in archive.root.rglob("*.zip"):
        archive.server.always[path.relative_to(archive.root).as_posix()] = faults.trickle(
            200_000, 0.002
        )
    for point in points:
        reached, lake = POINTS[point], tmp_path / point.replace(" ", "_")
        archive.server.requests.clear()
        args, env = command(archive, lake)
        process = subprocess.Popen(args, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 30
        while not reached(archive, lake) and time.monotonic() < deadline:
            assert process.poll() is None, f"{point}: it ended before the point was reached"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, point

        for path in lake.glob("vision/*/symbol=*/month=*/data.parquet"):
            pq.ParquetFile(path).read()  # whatever is visible is whole
        assert lake_contents(lake).keys() < expected.keys(), point

        again = subprocess.run(args, env=env, capture_output=True, text=True, check=False)
        assert again.returncode == 0, (point, again.stderr)
        assert lake_contents(lake) == expected, point
        last = subprocess.run(args, env=env, capture_output=True, text=True, check=True)
        assert "0 landed, 24 up to date" in last.stdout, (point, last.stdout)
        assert not list(lake.glob("vision/*/*/*/*.tmp")), point


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_cleanly_and_says_how_to_go_on(archive: Archive, tmp_path: Path, number):
    fill(archive)
    for path in archive.root.rglob("*.zip"):
        archive.server.always[path.relative_to(archive.root).as_posix()] = faults.trickle(
            2_000, 0.02
        )
    lake = tmp_path / "lake"
    args, env = command(archive, lake)
    process = subprocess.Popen(
        args, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not any(lake.glob("_tmp/**/*.part")):
        assert process.poll() is None
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130, stderr
    assert "run the same command again to go on" in stderr
    assert "Traceback" not in stderr
    archive.server.always.clear()
    again = subprocess.run(args, env=env, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
