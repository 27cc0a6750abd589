"""The command line: one-line errors that say what to do, exit codes, status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ingest.conftest import Archive, key

PERP = Path(sys.executable).with_name("perp")


def perp(archive: Archive, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PERP_LAKE": str(archive.config.lake),
        "PERP_ARCHIVE_URL": archive.server.archive_url,
        "PERP_ARCHIVE_LISTING_URL": archive.server.listing_url,
        **env,
    }
    return subprocess.run(
        [PERP, *args], env=environment, capture_output=True, text=True, check=False
    )


RANGE = ("--start", "2024-01-01", "--end", "2024-01-31")
BAD = {
    "unknown symbol": (["--symbols", "BTCUSD"], "no contract BTCUSD; did you mean BTCUSDT"),
    "path as a symbol": (["--symbols", "../../etc/passwd"], "'../../etc/passwd' is not a symbol"),
    "encoded path": (["--symbols", "%2e%2e%2fX"], "is not a symbol"),
    "NUL-ish symbol": (["--symbols", "BTC\nUSDT"], "is not a symbol"),
    "no symbol": (["--symbols", ","], "--symbols is empty"),
    "unknown dataset": (
        ["--datasets", "klines_2m"],
        "no dataset 'klines_2m'; choose from klines_1m",
    ),
    "end before start": (["--start", "2024-02-01", "--end", "2024-01-01"], "is before --start"),
    "start in the future": (["--start", "2999-01-01"], "is after yesterday"),
    "no date": (["--start", "January"], "--start 'January' is not a day; write it as 2024-01-31"),
    "impossible date": (["--end", "2024-02-30"], "--end '2024-02-30' is not a day"),
    "unknown option": (["--symbol", "BTCUSDT"], "No such option"),
    "no workers": (["--workers", "0"], "--workers"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_one_line_and_exit_2(archive: Archive, case):
    args, message = BAD[case]
    result = perp(archive, "ingest", "archive", *args)
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not archive.config.lake.exists()


def test_an_unwritable_lake_is_one_line_and_exits_2(archive: Archive, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    result = perp(
        archive,
        "ingest",
        "archive",
        "--symbols",
        "BTCUSDT",
        *RANGE,
        PERP_LAKE=str(blocker / "lake"),
    )
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "cannot write the lake" in result.stderr
    assert "set PERP_LAKE to a folder that you can write" in result.stderr


@pytest.mark.parametrize("url", ["http://data.example.com", "ftp://x", "data.example.com"])
def test_an_unsafe_address_is_refused(archive: Archive, url):
    result = perp(archive, "ingest", "archive", PERP_ARCHIVE_URL=url)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "PERP_ARCHIVE_URL" in result.stderr


def test_exchange_data_does_not_enter_a_sandbox_lake(archive: Archive):
    args = ("ingest", "archive", "--symbols", "BTCUSDT", "--datasets", "klines_1h", *RANGE)
    assert perp(archive, *args).returncode == 0
    result = perp(
        archive, "ingest", "archive", *RANGE, PERP_ARCHIVE_URL="https://data.binance.vision"
    )
    assert result.returncode == 2
    assert "holds sandbox data and this run would land exchange data" in result.stderr


def test_ingest_reports_and_status_tells(archive: Archive):
    path = archive.root / key("ETHUSDT", "2024-01")
    path.with_name(f"{path.name}.CHECKSUM").write_text("0" * 64 + "  x.zip")
    args = ("--symbols", "btcusdt,ETHUSDT", "--datasets", "klines_1h,metrics", *RANGE)
    result = perp(archive, "ingest", "archive", *args)
    assert result.returncode == 1
    assert "1 landed, 0 up to date, 2 absent upstream, 1 quarantined, 0 failed" in result.stdout
    assert "partitions" in result.stderr
    assert "elapsed" in result.stderr

    again = perp(archive, "ingest", "archive", *args, "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["up_to_date"] == 4

    shown = perp(archive, "status")
    assert shown.returncode == 0
    assert "2024-01 absent_upstream" in shown.stdout
    assert "quarantined: data/futures/um/monthly/klines/ETHUSDT" in shown.stdout
    rows = {
        (h["dataset"], h["symbol"]): h for h in json.loads(perp(archive, "status", "--json").stdout)
    }
    assert rows["klines_1h", "BTCUSDT"]["landed"] == ["2024-01"]
    assert rows["klines_1h", "BTCUSDT"]["rows"] == 744
    assert rows["klines_1h", "ETHUSDT"]["missing"] == {"2024-01": "quarantined"}
    assert rows["metrics", "BTCUSDT"]["missing"] == {"2024-01": "absent_upstream"}


def test_status_of_nothing_says_how_to_start(archive: Archive):
    result = perp(archive, "status")
    assert result.returncode == 0
    assert "start with: perp ingest archive" in result.stdout


def test_options_win_over_the_environment(archive: Archive, tmp_path: Path):
    other = tmp_path / "other"
    args = ("ingest", "archive", "--symbols", "BTCUSDT", "--datasets", "klines_1h", *RANGE)
    urls = (
        "--archive-url", archive.server.archive_url,
        "--archive-listing-url", archive.server.listing_url,
    )  # fmt: skip
    nowhere = {
        "PERP_ARCHIVE_URL": "http://127.0.0.1:9",
        "PERP_ARCHIVE_LISTING_URL": "http://127.0.0.1:9",
    }
    result = perp(archive, *args, "--lake", str(other), *urls, **nowhere)
    assert result.returncode == 0, result.stderr
    assert not archive.config.lake.exists()
    assert "BTCUSDT" in perp(archive, "status", "--lake", str(other)).stdout


def test_dry_run_shows_the_plan(archive: Archive):
    result = perp(
        archive, "ingest", "archive", "--dry-run", "--symbols", "BTCUSDT",
        "--datasets", "klines_1h", *RANGE,
    )  # fmt: skip
    assert result.returncode == 0
    assert "1 partitions to land, 0 up to date" in result.stdout
    assert archive.server.downloads == []


def test_the_default_universe_is_the_seed(archive: Archive):
    result = perp(archive, "ingest", "archive", "--dry-run", "--datasets", "klines_1h", *RANGE)
    assert "2 partitions to land, 0 up to date, 88 absent upstream" in result.stdout
