"""A lake of ticks made by hand: what is covered, what is missing, and what the checks find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ingest.lake import FileRecord, Lake, LandingLog
from tests.build import NO_UNIT_TESTS, dbt, read
from tests.lakes import land, land_partition, minute_bars

SYMBOL, MONTH = "BTCUSDT", "2024-01"
START = pd.Timestamp("2024-01-01")
SILENT, LOSSY, HOLED = (START + pd.Timedelta(hours=h) for h in (5, 7, 10))
N_LOST = 3


def make_ticks(minutes: pd.DatetimeIndex) -> pd.DataFrame:
    """A buy of 200 and a sell of 50 USDT a minute; ids jump at half past an hour."""
    times = np.repeat(minutes, 2) + np.tile(pd.to_timedelta([1, 50], unit="s"), len(minutes))
    ids = np.arange(len(times)) + 1000
    ids[times >= HOLED + pd.Timedelta(minutes=30)] += N_LOST
    return pd.DataFrame(
        {
            "agg_trade_id": ids,
            "price": 100.0,
            "quantity": np.tile([2.0, 0.5], len(minutes)),
            "first_trade_id": ids,
            "last_trade_id": ids,
            "transact_time": times,
            "is_buyer_maker": np.tile([False, True], len(minutes)),
        }
    )


def minute_layer(minutes: pd.DatetimeIndex, ticks: pd.DataFrame) -> pd.DataFrame:
    buys, sells = ticks.iloc[::2].reset_index(), ticks.iloc[1::2].reset_index()
    return pd.DataFrame(
        {
            "minute_ts": minutes,
            "trade_count": 2, "raw_trade_count": 2, "base_volume": 2.5, "quote_volume": 250.0,
            "buy_qty": 2.0, "sell_qty": 0.5, "buy_quote": 200.0, "sell_quote": 50.0,
            "buy_count": 1, "sell_count": 1, "buy_quote_sq": 40_000.0, "sell_quote_sq": 2_500.0,
            "buy_max_quote": 200.0, "sell_max_quote": 50.0,
            "price_first": 100.0, "price_last": 100.0, "price_high": 100.0, "price_low": 100.0,
            "first_transact_time": buys["transact_time"],
            "last_transact_time": sells["transact_time"],
            "first_agg_trade_id": buys["agg_trade_id"], "last_agg_trade_id": sells["agg_trade_id"],
            "n_bad": 0, "n_duplicates": 0, "n_out_of_order": 0,
        }
    )  # fmt: skip


def sizes(minutes: pd.DatetimeIndex) -> pd.DataFrame:
    rows = [
        {"hour_ts": hour, "side": side, "bin": [size_bin], "n": [60], "quote": [60 * quote]}
        for hour in minutes.floor("h").unique()
        for side, size_bin, quote in (("B", 23, 200.0), ("S", 16, 50.0))
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days of bars, ticks of the first one only, from a monthly file, kept but for one."""
    folder = tmp_path_factory.mktemp("ticks")
    every = pd.date_range(START, periods=2 * 1440, freq="min")
    traded = every[every.floor("h") != SILENT]
    ticked = traded[traded < START + pd.Timedelta(days=1)]
    bars = pd.DataFrame(
        {"open_time": every, "open": 100.0, "high": 100.0, "low": 100.0, "close": 100.0}
    )
    bars["volume"] = 2.5 * bars["open_time"].isin(traded)
    bars["trade_count"] = 2 * bars["open_time"].isin(traded)
    bars.loc[bars["open_time"] == HOLED + pd.Timedelta(minutes=30), "trade_count"] += N_LOST
    bars = minute_bars(SYMBOL, bars)
    bars["taker_buy_volume"] = bars["volume"] * 0.8
    bars["taker_buy_quote_volume"] = bars["quote_volume"] * 0.8
    land(folder / "lake", bars)

    ticks = make_ticks(ticked)
    lost = ticks["transact_time"] == LOSSY + pd.Timedelta(seconds=1)
    file = FileRecord("aggTrades", MONTH, "landed")
    empty = [f"{MONTH}-{day:02d}" for day in range(2, 32)]
    lake = Lake(folder / "lake")
    log = LandingLog(lake.log_folder, "vision")
    for dataset, rows in (
        ("agg_trades_1m", minute_layer(ticked, ticks)),
        ("agg_trade_sizes_1h", sizes(ticked)),
        ("agg_trades", ticks[~lost]),
    ):
        table = pa.Table.from_pandas(rows, preserve_index=False)
        land_partition(lake, log, dataset, SYMBOL, MONTH, table, [file], empty)
    log.close()
    dbt(folder / "lake", folder / "w.duckdb", "build", *NO_UNIT_TESTS, size_min_days=1)
    return folder / "w.duckdb"


def test_silence_is_zero_and_a_missing_file_is_null(warehouse: Path):
    flow = read(warehouse, "hourly_order_flow").set_index("hour_ts")
    first = flow[flow.index < START + pd.Timedelta(days=1)]
    assert first["at_trade_count"].drop(SILENT).eq(120).all()
    assert first.loc[SILENT, ["at_trade_count", "cvd_quote", "whale50k_cvd_quote"]].eq(0).all()
    assert first.loc[SILENT, ["imbalance_quote", "at_vwap"]].isna().all()
    assert first["whale_buy_quote"].isna().all()  # nothing is known of the days before
    assert first["size_thr_n_trades"].eq(0).all()
    second = flow[flow.index >= START + pd.Timedelta(days=1)]
    assert second["at_trade_count"].isna().all()
    assert second["size_thr_n_trades"].eq(23 * 120).all()
    assert second["whale_thr_quote"].round(6).eq(round(10**2.4, 6)).all()
    assert second["retail_thr_quote"].round(6).eq(round(10**1.7, 6)).all()
    # 18 covered hours of 24 stand in the window up to 05:00
    assert list(second["cvd_quote_24h"].notna()) == [True] * 6 + [False] * 18


def test_missing_days_and_missing_ids_are_gaps(warehouse: Path):
    gaps = read(
        warehouse,
        """select reason, slot, n_slots, gap_start, gap_end from gaps
        where dataset = 'agg_trades_1m' order by gap_start""",
    )
    hole = HOLED + pd.Timedelta(minutes=30)
    assert gaps.values.tolist() == [
        ["missing_ids", "aggregate trade", N_LOST, hole - pd.Timedelta(seconds=10),
         hole + pd.Timedelta(seconds=1)],
        ["absent_upstream", "daily file", 1, START + pd.Timedelta(days=1),
         START + pd.Timedelta(days=2)],
    ]  # fmt: skip
    coverage = read(warehouse, "select * from coverage where dataset = 'agg_trades_1m'")
    assert coverage[["n_expected", "n_present", "n_absent_upstream"]].values.tolist() == [[2, 1, 1]]


def test_the_checks_find_the_hole_and_the_lost_tick(warehouse: Path):
    """Hourly bars have not been landed, so what is there has nothing to agree with."""
    found = read(
        warehouse,
        """select check_name, ts, field, value_a, value_b, cause from reconciliation
        where check_name like '%ticks%' and check_name <> 'ticks_against_hours'
        order by check_name, field""",
    )
    assert found.values.tolist() == [
        ["ticks_against_minutes", HOLED, "trade_count", 120, 120 + N_LOST, "ids_missing"],
        ["ticks_kept_against_minutes", LOSSY, "quote_volume", 14_800, 15_000, "values_differ"],
        ["ticks_kept_against_minutes", LOSSY, "trade_count", 119, 120, "values_differ"],
        ["ticks_kept_against_minutes", LOSSY, "volume", 148, 150, "values_differ"],
    ]
    summary = read(
        warehouse,
        """select check_name, n_hours_compared, n_hours_equal from reconciliation_summary
        where check_name like '%ticks%' and check_name <> 'ticks_against_hours'
        order by check_name""",
    )
    assert summary.values.tolist() == [
        ["sizes_against_ticks", 23, 23],
        ["ticks_against_minutes", 24, 23],
        ["ticks_kept_against_minutes", 23, 22],
    ]
