"""Family H on liquidations that others recorded from the exchange."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from ingest.captures import import_captures
from ingest.config import Config
from tests.build import dbt
from tests.conftest import Warehouse
from tests.lakes import land, minute_bars, spans
from tests.mirror import require_real_data
from tests.reference import build_all, compare
from tests.reference.liquidations import bar_quote_volume, factors_15m, family_h
from tests.reference.sources import feed_coverage, liquidations

SYMBOLS = ["ATUSDT", "DASHUSDT", "ONTUSDT"]  # that were hit most in the days of the capture
RECORDED = datetime(2025, 12, 27, 14), datetime(2025, 12, 28, 21)
DAYS = pd.Timestamp("2025-12-27"), pd.Timestamp("2025-12-29")


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
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
    dbt(config.lake, config.warehouse, "build", "--select", "+liquidation_factors_15m",
        "+liquidation_factors_1h", "+hourly_liquidations", "--exclude-resource-type", "test",
        "--exclude-resource-type", "unit_test")  # fmt: skip
    return Warehouse(config.lake, config.warehouse)


def test_genuine_captures_equal_the_reference(captured: Warehouse):
    inputs = captured.inputs()
    frames = build_all(inputs)
    coverage = feed_coverage(frames["T"], liquidations(inputs), spans(captured.lake))
    events = liquidations(inputs).merge(coverage[["symbol", "hour_ts", "source"]])
    assert coverage["ok"].sum() > 80
    assert len(events) > 250

    hourly = captured.read("from hourly_liquidations natural join liquidation_factors_1h")
    expected = frames["T"].merge(
        family_h(events, coverage, frames["T"], frames["A"]), on=["symbol", "hour_ts"]
    )
    differences = compare(expected, hourly, extra_columns=False)
    assert not differences, "\n".join(str(d) for d in differences)
    assert hourly["long_liq_count"].sum() > 90
    for column in ("sum_long_large_lb24", "count_short_small_lb24", "skew_long"):
        assert hourly[column].notna().any(), column

    fine = factors_15m(events, coverage, frames["T"], bar_quote_volume(inputs))
    differences = compare(
        fine, captured.read("liquidation_factors_15m")[list(fine)], keys=["symbol", "bar_ts"]
    )
    assert not differences, "\n".join(str(d) for d in differences)
