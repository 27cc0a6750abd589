"""On Spark too: what lands later is built as if it had been there, and no more than that."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.lakes import land, minute_bars
from tests.reference import compare
from tests.spark.engines import Engines

pytestmark = [
    pytest.mark.timeout(3600),  # whole builds, on cores that others may use
    pytest.mark.skipif(
        importlib.util.find_spec("pyspark") is None,
        reason="Spark is not installed here; run: make test-spark",
    ),
]

ALL = (
    "+int_supertrend_hourly",
    "+int_magnet_hourly",
)  # carried from bar to bar, in SQL and in Python
BUILD = ("--select", *ALL, "--exclude-resource-type", "test")
TABLES = ("int_klines_hourly", "int_hourly_spine", "hourly_bars", "int_supertrend_hourly",
          "int_magnet_hourly")  # fmt: skip
LISTS = {"bar_quote_volumes", "map"}  # are compared as texts


def days(month: str) -> pd.DataFrame:
    """Two days of minutes of two contracts."""
    times = pd.date_range(f"{month}-01", periods=2 * 1440, freq="min")
    frames = []
    for seed, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
        steps = np.random.default_rng([seed, int(month[-2:])]).normal(0, 1e-3, (2, len(times)))
        close = 100 * np.exp(np.cumsum(steps[0]))
        bars = {"open_time": times, "open": close, "close": close * np.exp(steps[1])}
        frame = pd.DataFrame(bars)
        frame["high"] = frame[["open", "close"]].max(axis=1)
        frame["low"] = frame[["open", "close"]].min(axis=1)
        frame["volume"] = 1.0 + seed
        frames.append(minute_bars(symbol, frame))
    return pd.concat(frames)


def built(printed: str) -> dict[str, set[str]]:
    """Which months of which model a build has made."""
    out: dict[str, set[str]] = {}
    for model, first, last in re.findall(r"(\w+): (\d{4}-\d\d)(?: to (\d{4}-\d\d))? \(", printed):
        months = pd.period_range(first, last or first, freq="M")
        out.setdefault(model, set()).update(map(str, months))
    return out


def test_a_month_that_lands_late(tmp_path: Path):
    lake = tmp_path / "lake"
    engines = Engines(lake, tmp_path / "w.duckdb", tmp_path / "spark")
    land(lake, pd.concat([days("2024-01"), days("2024-03")]))
    engines.build_on_spark(*BUILD)
    land(lake, days("2024-02"))
    again = built(engines.build_on_spark(*BUILD))
    assert again["int_klines_hourly"] == {"2024-02"}
    assert again["hourly_bars"] == {"2024-02", "2024-03"}
    late = {table: engines.read_spark(table) for table in TABLES}

    assert not built(engines.build_on_spark(*BUILD))  # nothing has landed

    shutil.rmtree(engines.spark)
    engines.build_on_spark(*BUILD)
    for table in TABLES:
        whole = engines.read_spark(table)
        assert {"2024-01", "2024-02", "2024-03"} == set(whole["month"]), table
        frames = [f.astype(dict.fromkeys(LISTS & {*f.columns}, str)) for f in (whole, late[table])]
        found = compare(*frames, rel=1e-12, floor=0, extra_columns=False)
        assert not found, f"{table}: " + "\n".join(map(str, found))
