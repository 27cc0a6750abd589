"""Family H on liquidations that others recorded from the exchange, as it is and with other vars."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from dbt_project.columns import finer_factors, hourly_factors
from dbt_project.columns import settings as project_vars
from ingest.captures import import_captures
from ingest.config import Config
from tests.build import dbt, read
from tests.conftest import Warehouse
from tests.lakes import land, minute_bars, spans
from tests.mirror import require_real_data
from tests.reference import KEYS, build_all, compare
from tests.reference.liquidations import Settings, bar_quote_volume, factors_15m, family_h
from tests.reference.sources import feed_coverage, liquidations

SYMBOLS = ["ATUSDT", "DASHUSDT", "ONTUSDT"]  # that were hit most in the days of the capture
RECORDED = datetime(2025, 12, 27, 14), datetime(2025, 12, 28, 21)
DAYS = pd.Timestamp("2025-12-27"), pd.Timestamp("2025-12-29")
MODELS = ("liquidation_factors_15m", "liquidation_factors_1h", "hourly_liquidations")
NO_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")


class Captured(NamedTuple):
    warehouse: Warehouse
    inputs: dict[str, pd.DataFrame]
    frames: dict[str, pd.DataFrame]
    coverage: pd.DataFrame
    events: pd.DataFrame


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    """A genuine capture, taken as recorded throughout, and minutes that are made up."""
    folder = tmp_path_factory.mktemp("captured")
    config = Config(folder / "lake", folder / "w.duckdb", "http://localhost", "http://localhost")
    capture = require_real_data() / "ws-forceorder-captures/riftfern__data-streams/binance.csv"
    import_captures(config, [capture], recorded=RECORDED)
    times = pd.date_range(*DAYS, freq="min", inclusive="left")
    for i, symbol in enumerate(SYMBOLS):
        rng = np.random.default_rng(i)
        close = np.exp(np.cumsum(rng.normal(0, 1e-3, len(times))))
        bars = {"open_time": times, "open": close, "high": close, "low": close, "close": close}
        land(config.lake, minute_bars(symbol, pd.DataFrame(bars | {"volume": 1000.0})))
    select = [f"+{model}" for model in MODELS]
    dbt(config.lake, config.warehouse, "build", "--select", *select, *NO_TESTS)
    warehouse = Warehouse(config.lake, config.warehouse)
    inputs = warehouse.inputs()
    frames = build_all(inputs, families="A")
    seen = liquidations(inputs)
    coverage = feed_coverage(frames["T"], seen, spans(config.lake))
    events = seen.merge(coverage[["symbol", "hour_ts", "source"]])
    return Captured(warehouse, inputs, frames, coverage, events)


def check(captured: Captured, path: Path, settings: Settings) -> None:
    """The marts of a warehouse equal the reference with these settings."""
    _, inputs, frames, coverage, events = captured
    spine = frames["T"]
    expected = family_h(events, coverage, spine, frames["A"], settings)
    hourly = read(path, "from hourly_liquidations natural join liquidation_factors_1h")
    differences = compare(spine.merge(expected, on=KEYS), hourly, extra_columns=False)
    assert not differences, "\n".join(str(d) for d in differences)

    quotes = bar_quote_volume(inputs, settings)
    expected = factors_15m(events, coverage, spine, quotes, settings)
    fine = read(path, f"liquidation_factors_{settings.bar_minutes}m")
    differences = compare(expected, fine, keys=["symbol", "bar_ts"])
    assert not differences, "\n".join(str(d) for d in differences)


def test_genuine_captures_equal_the_reference(captured: Captured):
    assert captured.coverage["ok"].sum() > 80
    assert len(captured.events) > 250
    check(captured, captured.warehouse.path, Settings())
    hourly = captured.warehouse.read("liquidation_factors_1h")
    for column in ("sum_long_large_lb24", "count_short_small_lb24", "skew_long"):
        assert hourly[column].notna().any(), column


def test_vars_change_columns_and_their_names(captured: Captured, tmp_path: Path):
    changed = {
        "liq_q": [0.5, 0.8],
        "liq_lb": [12],
        "liq_min_events": 5,
        "liq_bar_minutes": 30,
        "mining_windows": [6, 9],
        "mining_quantiles": [0.75],
        "brk_min_pos": 2,
    }
    path = tmp_path / "w.duckdb"
    shutil.copy(captured.warehouse.path, path)
    models = (
        "int_liquidation_thresholds+", "int_klines_hourly", "int_quote_volume_15m+",
        "hourly_liquidations",
    )  # fmt: skip
    dbt(captured.warehouse.lake, path, "build", "--select", *models, *NO_TESTS,
        "--exclude", "int_liquidation_setups_hourly+", "hourly_structure+", "hourly_transforms+",
        **changed, enforce_contracts=False)  # fmt: skip
    settings = Settings(
        liq_q=(0.5, 0.8), liq_lb=(12,), liq_min_events=5, bar_minutes=30,
        mining_windows=(6, 9), mining_quantiles=(0.75,), brk_min_pos=2,
    )  # fmt: skip
    check(captured, path, settings)

    named = project_vars() | changed
    columns = set(read(path, "liquidation_factors_1h"))
    assert {c.name for c in hourly_factors(named)} < columns
    assert {c.name for c in finer_factors(named)} < set(read(path, "liquidation_factors_30m"))
    assert read(path, "liquidation_factors_1h")["feat_z_sum_long_large_lb12_w9"].notna().any()
