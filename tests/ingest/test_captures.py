"""Captures that others recorded: every line lands, or is named with what is wrong with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from ingest.captures import ImportSummary, full_symbol, import_captures
from ingest.cli import cli
from ingest.config import Config
from ingest.errors import UsageError
from ingest.lake import Lake
from tests.ingest.conftest import lake_contents
from tests.ingest.recordings import FIRST, covered, events, record_of
from tests.mirror import require_real_data


def line(number: int = 0, *, minute: float = 0, symbol: str = "BTC", ap: str = "100.5") -> str:
    """A captured line; each number has a second of its own."""
    moment = FIRST + 1000 * number + round(60_000 * minute)
    return f"{symbol},SELL,LIMIT,IOC,1.5,100,{ap},FILLED,0.5,1.5,{moment},150.0"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path / "lake", tmp_path / "w", "http://localhost", "http://localhost")


def put(tmp_path: Path, name: str, *lines: str) -> Path:
    path = tmp_path / "captures" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def land(config: Config, *paths: Path, **options) -> ImportSummary:
    return import_captures(config, paths, **options)


def log_of(config: Config) -> list[str]:
    return [p.read_text() for p in sorted((config.lake / "_log").glob("*-import.jsonl"))]


# ------------------------------------------------------------------------------ genuine files
def test_genuine_captures_land_whole(config):
    folder = require_real_data() / "ws-forceorder-captures"
    summary = land(config, folder)
    files = [p for p in sorted(folder.rglob("*.csv")) if "trades" not in p.name]
    lines = [text.split(",") for p in files for text in p.read_text().splitlines()]
    assert len(lines) == 2887
    keys = {(*fields[:2], float(fields[4]), float(fields[5]), fields[10]) for fields in lines}
    assert (summary.files, summary.rows_in, summary.bad_rows) == (4, 2887, 0)
    assert summary.new == len(keys) == 2886
    assert (summary.duplicates, summary.conflicts) == (1, 0), "a large one is in both files"
    assert len(summary.problems) == 2
    assert all("captured trades" in p for p in summary.problems)

    rows = events(config.lake, "import")
    assert rows.height == 2886
    assert "币安人生USDT" in set(rows["contract"])
    assert {c for c in rows["contract"] if not c.endswith(("USDT", "USDC"))} == set()
    unique = {tuple(f[:11]): float(f[11]) for f in lines}
    assert rows["stated_value"].sum() == pytest.approx(sum(unique.values()))
    spans = covered(config.lake, "import")
    assert all(b[0] - a[1] > timedelta(minutes=10) for a, b in pairwise(spans))
    assert sum((b - a for a, b in spans), timedelta()) < timedelta(hours=4), "not the days between"

    held, log = lake_contents(config.lake), log_of(config)
    again = land(config, folder)
    assert (again.unchanged, again.new, again.duplicates) == (4, 0, 0)
    assert lake_contents(config.lake) == held
    assert log_of(config) == log


# ------------------------------------------------------------------------------------ symbols
@pytest.mark.parametrize(
    ("captured", "contract"),
    [
        ("BTC", "BTCUSDT"),
        ("BTCUSDT", "BTCUSDT"),
        ("1000PEPEUSDC", "1000PEPEUSDC"),
        ("BTCBUSD", "BTCBUSD"),
        ("USDC", "USDCUSDT"),
        ("G", "GUSDT"),
        ("4", "4USDT"),
        ("币安人生", "币安人生USDT"),
        ("ETHBTC", "ETHBTC"),
        ("BTCUSDT_240329", "BTCUSDT_240329"),
        ("BTC_240329", "BTCUSDT_240329"),
    ],
)
def test_a_symbol_gets_back_what_was_cut_off(captured, contract):
    assert full_symbol(captured) == contract


# ---------------------------------------------------------------------------------- bad lines
BAD = {
    "Hello Arbitrage Trading Bot" + line(): "s is",
    line(symbol=""): "s is",
    line(symbol="btc"): "s is",
    line(symbol="../../x"): "s is",
    "symbol,side,type,tif,q,p,ap,X,l,z,T,usd": "s is",
    line() + ",0,0": "14 fields instead of 12",
    "BTC,SELL,LIMIT,IOC,1.5": "5 fields instead of 12",
    "torn": "1 fields instead of 12",
    line().replace("SELL", "HOLD"): "S is 'HOLD'",
    line().replace("SELL", "None"): "S is 'None'",
    line().replace("LIMIT", ""): "o is ''",
    line().replace(",1.5,100,", ",nan,100,"): "q is 'nan'",
    line().replace(",1.5,100,", ",1.5,-100,"): "p is '-100'",
    line().replace(",1.5,100,", ",1_5,100,"): "q is '1_5'",
    line().replace(",1.5,100,", ",1.5,1e999,"): "p is '1e999'",
    line(ap="nan"): "ap is 'nan'",
    line().replace(",150.0", ",inf"): "value is 'inf'",
    line().replace("1735689600000", "1735689600"): "T is '1735689600'",
    line().replace("1735689600000", "1735689600000.5"): "T is",
    line().replace("1735689600000", "0000000000001"): "T is '0000000000001', which is out",
}


def test_bad_lines_are_named_and_the_others_land(config, tmp_path):
    lines = [text for n, bad in enumerate(BAD, 1) for text in (bad, line(n))]
    path = put(tmp_path, "a.csv", *lines)
    with path.open("ab") as handle:
        handle.write(b"\xff\xfe,SELL\n\n  \n")
        handle.write(line(99, symbol="E\0TH").encode() + b"\n" + line(100).encode())
    notes: list[str] = []
    summary = land(config, path, note=notes.append)
    assert summary.new == summary.rows_in == len(BAD) + 1
    assert summary.bad_rows == len(summary.bad_lines) == len(BAD) + 2
    assert notes == [f"left out {text}" for text in summary.bad_lines]
    for number, (said, why) in enumerate(zip(summary.bad_lines, BAD.values(), strict=False)):
        assert said.startswith(f"{path} line {2 * number + 1}: {why}"), said
    assert "not UTF-8" in summary.bad_lines[-2]
    assert f"line {len(lines) + 4}: s is" in summary.bad_lines[-1]
    assert summary.ok
    record = record_of(config.lake, "2025-01", "import")
    assert record.bad_rows == record.files[0].bad_rows == len(BAD) + 2
    assert "line 1:" in str(record.files[0].error)


def test_all_bad_lines_count_though_not_all_are_named(config, tmp_path):
    path = put(tmp_path, "a.csv", line(), *["x"] * 3000)
    summary = land(config, path)
    assert summary.bad_rows == 3000
    assert len(summary.bad_lines) == 1001
    assert summary.bad_lines[-1] == f"{path}: 2000 further lines"


def test_odd_but_good_lines_land(config, tmp_path):
    path = put(tmp_path, "a.csv")
    odd = [line(1, ap="None"), line(2) + ",25", line(3).replace(",1.5,100,", ",1.5e-05,100.,")]
    content = "\r\n".join([line(0), *odd, line(4).replace(",", ", "), ""])
    path.write_bytes(b"\xef\xbb\xbf" + content.encode())
    summary = land(config, path)
    assert (summary.rows_in, summary.bad_rows) == (5, 0)
    rows = events(config.lake, "import")
    assert rows["average_price"].to_list() == [100.5, None, 100.5, 100.5, 100.5]
    assert rows["original_quantity"].to_list() == [1.5, 1.5, 1.5, 1.5e-05, 1.5]
    assert set(rows["contract"]) == {"BTCUSDT"}
    assert set(rows["file"]) == {"a.csv"}


def test_other_files_are_refused_and_do_not_stop_the_import(config, tmp_path, monkeypatch, capsys):
    put(tmp_path, "good.csv", line(1))
    put(
        tmp_path,
        "trades.csv",
        "1723705562482, SOLUSDT, 764936925, 141.967, 285.0,1723705562477, False",
    )
    put(tmp_path, "words.csv", "these are", "only words")
    (tmp_path / "captures" / "empty.csv").touch()
    (tmp_path / "captures" / "notes.txt").write_text("not a CSV")
    monkeypatch.setenv("PERP_LAKE", str(config.lake))
    folder = str(tmp_path / "captures")
    assert cli(["ingest", "liquidations", "--import", folder], standalone_mode=False) == 1
    out, err = capsys.readouterr()
    assert "1 read, 0 of them with nothing new, 3 refused" in out
    assert "orders: 1 read, 1 new" in out
    assert "trades.csv: captured trades" in err
    assert "words.csv: holds no liquidation (2 lines, the first: " in err
    assert "empty.csv: holds no liquidation (it is empty)" in err
    assert events(config.lake, "import").height == 1
    assert cli(
        ["ingest", "liquidations", "--import", f"{folder}/good.csv", "--json"],
        standalone_mode=False,
    ) == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out)["unchanged"] == 1


# ------------------------------------------------------------------------------ rows that agree
def test_duplicates_and_contradictions_are_counted_by_file(config, tmp_path):
    first = put(tmp_path, "a.csv", line(2), line(1), line(1), line(3))
    second = put(tmp_path, "b.csv", line(3), line(2, ap="99"), line(4))
    summary = land(config, first, second)
    assert (summary.rows_in, summary.new, summary.duplicates, summary.conflicts) == (7, 4, 2, 1)
    rows = events(config.lake, "import")
    assert rows["average_price"].to_list() == [100.5] * 4, "the one imported first stays"
    record = record_of(config.lake, "2025-01", "import")
    assert (record.rows_in, record.duplicates_dropped, record.conflicts_dropped) == (7, 2, 1)
    a, b = record.files
    assert (a.url, a.rows_in, a.rows_out, a.duplicates_dropped, a.out_of_order) == (
        "a.csv", 4, 3, 1, 1,
    )  # fmt: skip
    assert (b.url, b.rows_in, b.rows_out, b.duplicates_dropped, b.conflicts_dropped) == (
        "b.csv", 3, 1, 1, 1,
    )  # fmt: skip
    assert (a.first_time, a.last_time) == ("2025-01-01T00:00:01", "2025-01-01T00:00:03")
    assert a.bytes == first.stat().st_size
    assert (a.carried, b.carried) == (True, False)

    before = lake_contents(config.lake)
    with first.open("a") as handle:
        handle.write(line(9) + "\n")
    grown = land(config, first, second)
    assert (grown.new, grown.unchanged) == (1, 1)
    assert lake_contents(config.lake) != before


@pytest.mark.parametrize("point", ["merge_into", "LandingLog.append"])
def test_killed_in_an_import_it_counts_everything_once(config, tmp_path, point):
    """Over a month end: one month may be in the log already."""
    path = put(tmp_path, "a.csv", "bad", line(0), line(0), line(1, minute=31 * 1440))
    code = f"""
import os, signal
import ingest.events as events
from ingest.cli import main
done = events.{point}
calls = []
def die_the_second_time(*arguments, **options):
    calls.append(1)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return done(*arguments, **options)
events.{point} = die_the_second_time
main()
"""
    killed = subprocess.run(
        [sys.executable, "-c", code, "ingest", "liquidations", "--import", str(path)],
        env={**os.environ, "PERP_LAKE": str(config.lake)},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(Lake(config.lake).state("import")) == 1
    land(config, path)
    january, february = (record_of(config.lake, f"2025-0{m}", "import") for m in (1, 2))
    assert (january.rows_in, january.rows_out, january.duplicates_dropped) == (2, 1, 1)
    assert (february.rows_in, february.rows_out, february.duplicates_dropped) == (1, 1, 0)
    assert (january.bad_rows, february.bad_rows) == (1, 0)


# ----------------------------------------------------------------------------------- coverage
def test_coverage_is_inferred_up_to_silences(config, tmp_path):
    moments = [0, 4, 9, 30, 31]
    path = put(tmp_path, "a.csv", *(line(minute=m) for m in moments))
    land(config, path, max_silence=timedelta(minutes=5))
    start = datetime(2025, 1, 1)
    ms = timedelta(milliseconds=1)
    assert covered(config.lake, "import") == [
        (start, start + timedelta(minutes=9) + ms),
        (start + timedelta(minutes=30), start + timedelta(minutes=31) + ms),
    ]


def test_stated_coverage_wins_and_may_be_stated_later(config, tmp_path):
    path = put(tmp_path, "a.csv", line(minute=10), line(minute=100))
    land(config, path)
    span = datetime(2024, 12, 31, 22), datetime(2025, 1, 1, 3)
    held = lake_contents(config.lake)
    summary = land(config, path, recorded=span)
    assert summary.new == 0
    assert covered(config.lake, "import") == [span]
    assert held.items() <= lake_contents(config.lake).items(), "only a month without rows is added"
    january = record_of(config.lake, "2025-01", "import")
    assert (january.rows_in, january.bad_rows, len(january.files)) == (2, 0, 1)
    december = record_of(config.lake, "2024-12", "import")
    assert (december.rows_out, december.covered) == (
        0, [["2024-12-31T22:00:00", "2025-01-01T00:00:00"]],
    )  # fmt: skip
    assert (december.first_day, december.last_day) == ("2024-12-31", "2024-12-31")
    assert (january.first_day, january.last_day) == ("2025-01-01", "2025-01-01")


def test_a_partition_moved_away_takes_its_coverage_along(config, tmp_path):
    path = put(tmp_path, "a.csv", line(0), line(1))
    land(config, path)
    Lake(config.lake).partition_of(record_of(config.lake, "2025-01", "import")).unlink()
    other = put(tmp_path, "b.csv", line(minute=600))
    assert land(config, other).new == 1
    [(start, _)] = covered(config.lake, "import")
    assert start == datetime(2025, 1, 1, 10)
    assert land(config, path).new == 2
    record = record_of(config.lake, "2025-01", "import")
    assert (record.rows_in, record.rows_out) == (3, 3)


def test_the_command_takes_the_time_of_the_recording(config, tmp_path, monkeypatch):
    path = put(tmp_path, "a.csv", line(minute=10))
    monkeypatch.setenv("PERP_LAKE", str(config.lake))

    def run(*arguments: str) -> int:
        return cli(
            ["ingest", "liquidations", "--import", str(path), *arguments], standalone_mode=False
        )

    span = ("--recorded-from", "2025-01-01", "--recorded-to", "2025-01-01T03:00+02:00")
    assert run(*span) == 0
    assert covered(config.lake, "import") == [(datetime(2025, 1, 1), datetime(2025, 1, 1, 1))]
    for arguments, message in (
        (span[:2], "go together"),
        (("--recorded-from", "2025-02-01", *span[2:]), "is not after"),
        (("--recorded-from", "yesterday", *span[2:]), "is not a time"),
    ):
        with pytest.raises(UsageError, match=message):
            run(*arguments)
    for missing in (tmp_path / "none.csv", tmp_path / "lake" / "_tmp"):
        with pytest.raises(UsageError, match=r"check the path|holds no \.csv"):
            land(config, missing)
