"""Genuine exchange files through the whole path: HTTP, verification, lake, dbt, marts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.conftest import Warehouse
from tests.mirror import REAL


@pytest.mark.parametrize("symbol", ["LINKUSDT", "AVAXUSDT"])
def test_every_hour_equals_the_exchanges_own_hourly_candle(genuine: Warehouse, symbol: str):
    rest = pd.read_csv(REAL / "rest-gravestone-data" / "1h" / f"{symbol}.csv")
    rest["hour_ts"] = pd.to_datetime(rest["timestamp"], unit="ms")
    ours = genuine.read(
        f"""select hour_ts, open, high, low, close, volume, quote_volume, trade_count
        from hourly_bars where symbol = '{symbol}' and hour_ts >= '2026-02-01'
        and has_bar = 1"""
    )
    both = rest.merge(ours, on="hour_ts", suffixes=("_rest", ""))
    assert len(both) == 672
    for column in ("open", "high", "low", "close"):
        assert (both[column] == both[f"{column}_rest"]).all(), column
    assert (both["trade_count"] == both["trades"]).all()
    for column in ("volume", "quote_volume"):
        np.testing.assert_allclose(both[column], both[f"{column}_rest"], rtol=1e-12)


def test_settlements_land_on_their_hours_despite_jitter(genuine: Warehouse):
    jittered = [t for s in genuine.settlements.values() for t, _ in s if t % 1000]
    assert len(jittered) > 50, "the files carry real jitter"
    for symbol in ("LINKUSDT", "AVAXUSDT"):
        rates = genuine.read(
            f"""select hour_ts, funding_rate, hours_since_funding from hourly_funding
            where symbol = '{symbol}' and hour_ts between '2026-02-02' and '2026-02-28 23:00'"""
        ).set_index("hour_ts")
        checked = 0
        for calc_time, rate in genuine.settlements[symbol]:
            hour = pd.Timestamp(calc_time, unit="ms").round("min")
            if hour in rates.index:
                row = rates.loc[hour]
                assert (row["funding_rate"], row["hours_since_funding"]) == (rate, 0)
                later = rates.loc[hour + pd.Timedelta(hours=7)]
                assert (later["funding_rate"], later["hours_since_funding"]) == (rate, 7)
                checked += 1
        assert checked == 27 * 3


ZERO_DAYS = [
    ("LINKUSDT", "2022-03-07", 102),
    ("LINKUSDT", "2024-08-12", 6),
    ("LINKUSDT", "2025-01-05", 19),
    ("LINKUSDT", "2025-04-15", 5),
    ("BTCUSDT", "2022-03-07", 102),
]


@pytest.mark.parametrize(("symbol", "day", "zeros"), ZERO_DAYS)
def test_zeros_are_missing_values_and_counted(genuine: Warehouse, symbol, day, zeros):
    staged = genuine.read(
        f"""select count(*) as n, count(open_interest) as known, min(open_interest) as least
        from stg_vision__metrics where symbol = '{symbol}' and file_date = '{day}'"""
    )
    assert staged["known"][0] == staged["n"][0] - zeros
    assert staged["least"][0] > 0
    counted = genuine.read(
        f"select * from metrics_files where symbol = '{symbol}' and file_date = '{day}'"
    )
    assert list(counted["n_zero_open_interest"]) == [zeros]


def test_a_week_of_zeros_is_null_with_a_reason(genuine: Warehouse):
    """BTCUSDT 2024-07-09..15: hundreds of rows with open interest 0."""
    zeros = genuine.read(
        """select sum(n_zero_open_interest) as n from metrics_files
        where symbol = 'BTCUSDT' and file_date between '2024-07-09' and '2024-07-15'"""
    )
    assert zeros["n"][0] == 299
    gaps = genuine.read(
        """select sum(n_slots) as n from gaps where symbol = 'BTCUSDT' and dataset = 'metrics'
        and reason = 'zero_upstream' and gap_start between '2024-07-09' and '2024-07-16'"""
    )
    assert gaps["n"][0] == 299


def test_a_short_day_is_counted_with_its_reason(genuine: Warehouse):
    gap = genuine.read(
        """select * from gaps where dataset = 'metrics' and symbol = 'LINKUSDT'
        and gap_start = '2024-02-16 13:35:00'"""
    )
    assert list(gap["reason"]) == ["absent_upstream"]
    assert list(gap["n_slots"]) == [125]


def test_rows_of_one_bucket_are_picked_once(genuine: Warehouse):
    twice = genuine.read(
        """select symbol, bucket_ts, count(*) as n, sum(case when is_bucket_pick then 1 else 0 end)
        as picked, count(open_interest) as known,
        max(case when is_bucket_pick then open_interest end) as pick
        from stg_vision__metrics group by symbol, bucket_ts having count(*) > 1"""
    )
    assert len(twice) >= 4, "the files carry several rows in one five minutes"
    assert (twice["picked"] == 1).all()
    assert (twice["pick"].notna() == (twice["known"] > 0)).all(), "a zero twin never wins"


def test_off_grid_rows_fall_in_their_bucket(genuine: Warehouse):
    late = genuine.read(
        """select count(*) as n, max(create_time - bucket_ts) as most from stg_vision__metrics
        where create_time <> bucket_ts"""
    )
    assert late["n"][0] > 50
    assert late["most"][0] < pd.Timedelta(minutes=5)


def test_labels_are_recognised_as_period_ends(genuine: Warehouse):
    """All editions on disk label by the period's end; the measurement must say so."""
    labels = genuine.read("metrics_files")
    decided = labels[labels["label_convention"] != "undetermined"]
    assert len(decided) > 50
    assert set(decided["label_convention"]) == {"period_end"}
    assert (decided["price_error_after_label"] > 3 * decided["price_error_at_label"]).mean() > 0.95


def test_open_interest_is_fresh_wherever_the_day_is_there(genuine: Warehouse):
    hours = genuine.read(
        """select cast(hour_ts as date) as day, count(*) as n, count(oi_open_interest) as known,
        max(oi_age_minutes) as oldest, min(oi_open_interest) as least
        from hourly_open_interest where symbol = 'LINKUSDT'
        and hour_ts between '2026-02-02' and '2026-02-19 23:00' group by 1"""
    )
    assert len(hours) == 18
    assert (hours["known"] == 24).all()
    assert (hours["oldest"] <= 15).all()
    assert (hours["least"] > 0).all()


def test_the_long_hole_between_months_is_two_segments_with_reasons(genuine: Warehouse):
    spine = genuine.read("select distinct symbol, listing_segment from final_dataset")
    assert sorted(spine[spine["symbol"] == "LINKUSDT"]["listing_segment"]) == [1, 2]
    holes = genuine.read("select * from gaps where dataset = 'klines_1m' and reason is not null")
    link = holes[holes["symbol"] == "LINKUSDT"]
    assert (link["reason"] == "absent_upstream").any()
