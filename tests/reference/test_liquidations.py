"""Family H against events worked out by hand, and its breakouts against those of the engine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from .engine import published_breakout
from .liquidations import (
    DEFAULT,
    Settings,
    bar_quote_volume,
    bucket_columns,
    factors_15m,
    family_h,
    h_columns,
)
from .test_reference import at, candle, dead, same

BASE = """
long_liq_volume short_liq_volume long_liq_qty short_liq_qty long_liq_count short_liq_count
long_liq_max short_liq_max liq_total_volume liq_imbalance long_liq_z_168h short_liq_z_168h
long_liq_rank_168h short_liq_rank_168h liq_over_quote_volume liq_feed_ok
"""
PARITY = """
sum_long_large_lb24 count_long_large_lb24 sum_long_small_lb24 count_long_small_lb24
sum_long_med_lb24 count_long_med_lb24 sum_short_large_lb24 count_short_large_lb24
sum_short_small_lb24 count_short_small_lb24 sum_short_med_lb24 count_short_med_lb24
sum_long_large_lb48 count_long_large_lb48 sum_long_small_lb48 count_long_small_lb48
sum_long_med_lb48 count_long_med_lb48 sum_short_large_lb48 count_short_large_lb48
sum_short_small_lb48 count_short_small_lb48 sum_short_med_lb48 count_short_med_lb48
skew_long skew_short
total_vol_long_lb24 total_vol_short_lb24 diff_net_burn_vol_lb24
ratio_whale_long_lb24 ratio_whale_short_lb24
total_vol_long_lb48 total_vol_short_lb48 diff_net_burn_vol_lb48
ratio_whale_long_lb48 ratio_whale_short_lb48
feat_z_sum_long_large_lb24_w24 feat_z_count_long_large_lb24_w24
feat_z_sum_long_small_lb24_w24 feat_z_count_long_small_lb24_w24
feat_z_sum_long_med_lb24_w24 feat_z_count_long_med_lb24_w24
feat_z_sum_short_large_lb24_w24 feat_z_count_short_large_lb24_w24
feat_z_sum_short_small_lb24_w24 feat_z_count_short_small_lb24_w24
feat_z_sum_short_med_lb24_w24 feat_z_count_short_med_lb24_w24
feat_z_sum_long_large_lb48_w24 feat_z_count_long_large_lb48_w24
feat_z_sum_long_small_lb48_w24 feat_z_count_long_small_lb48_w24
feat_z_sum_long_med_lb48_w24 feat_z_count_long_med_lb48_w24
feat_z_sum_short_large_lb48_w24 feat_z_count_short_large_lb48_w24
feat_z_sum_short_small_lb48_w24 feat_z_count_short_small_lb48_w24
feat_z_sum_short_med_lb48_w24 feat_z_count_short_med_lb48_w24
feat_z_skew_long_w24 feat_z_skew_short_w24
feat_z_diff_net_burn_vol_lb24_w24 feat_z_diff_net_burn_vol_lb48_w24
feat_brk_sum_long_large_lb24_w24_q90 feat_brk_count_long_large_lb24_w24_q90
feat_brk_sum_long_small_lb24_w24_q90 feat_brk_count_long_small_lb24_w24_q90
feat_brk_sum_long_med_lb24_w24_q90 feat_brk_count_long_med_lb24_w24_q90
feat_brk_sum_short_large_lb24_w24_q90 feat_brk_count_short_large_lb24_w24_q90
feat_brk_sum_short_small_lb24_w24_q90 feat_brk_count_short_small_lb24_w24_q90
feat_brk_sum_short_med_lb24_w24_q90 feat_brk_count_short_med_lb24_w24_q90
feat_brk_sum_long_large_lb48_w24_q90 feat_brk_count_long_large_lb48_w24_q90
feat_brk_sum_long_small_lb48_w24_q90 feat_brk_count_long_small_lb48_w24_q90
feat_brk_sum_long_med_lb48_w24_q90 feat_brk_count_long_med_lb48_w24_q90
feat_brk_sum_short_large_lb48_w24_q90 feat_brk_count_short_large_lb48_w24_q90
feat_brk_sum_short_small_lb48_w24_q90 feat_brk_count_short_small_lb48_w24_q90
feat_brk_sum_short_med_lb48_w24_q90 feat_brk_count_short_med_lb48_w24_q90
"""
EXTENSION = """
kurt_long kurt_short diff_skew
ratio_retail_long_lb24 ratio_retail_short_lb24 ratio_retail_long_lb48 ratio_retail_short_lb48
diff_net_whale_vol_lb24 diff_net_whale_vol_lb48
ratio_whale_retail_long_lb24 ratio_whale_retail_short_lb24
ratio_whale_retail_long_lb48 ratio_whale_retail_short_lb48
feat_z_diff_net_whale_vol_lb24_w24 feat_z_diff_net_whale_vol_lb48_w24
feat_z_diff_skew_w24 feat_z_liq_imbalance_w24
feat_brk_total_vol_long_w24_q90 feat_brk_total_vol_short_w24_q90
feat_rank_sum_long_large_lb24_w24 feat_rank_count_long_large_lb24_w24
feat_rank_sum_long_small_lb24_w24 feat_rank_count_long_small_lb24_w24
feat_rank_sum_long_med_lb24_w24 feat_rank_count_long_med_lb24_w24
feat_rank_sum_short_large_lb24_w24 feat_rank_count_short_large_lb24_w24
feat_rank_sum_short_small_lb24_w24 feat_rank_count_short_small_lb24_w24
feat_rank_sum_short_med_lb24_w24 feat_rank_count_short_med_lb24_w24
feat_rank_sum_long_large_lb48_w24 feat_rank_count_long_large_lb48_w24
feat_rank_sum_long_small_lb48_w24 feat_rank_count_long_small_lb48_w24
feat_rank_sum_long_med_lb48_w24 feat_rank_count_long_med_lb48_w24
feat_rank_sum_short_large_lb48_w24 feat_rank_count_short_large_lb48_w24
feat_rank_sum_short_small_lb48_w24 feat_rank_count_short_small_lb48_w24
feat_rank_sum_short_med_lb48_w24 feat_rank_count_short_med_lb48_w24
"""
EVENT = ["symbol", "available_time", "liquidated_position", "quantity", "value"]


def event(
    when: pd.Timestamp, value: float, position: str = "long", quantity: float = 1.0, **over: Any
) -> dict[str, Any]:
    given = ("AAA", when, position, quantity, value)
    return dict(zip(EVENT, given, strict=True)) | over


def several(hour: float, values: Any, position: str = "long") -> list[dict[str, Any]]:
    """Events a second apart from each other."""
    return [event(at(hour, i / 60), float(v), position) for i, v in enumerate(values)]


def hourly(values: Mapping[int, float], position: str = "long") -> list[dict[str, Any]]:
    return [event(at(h), v, position) for h, v in values.items()]


def rows_of(n: int, segments: dict[int, int] | None = None, symbol: str = "AAA") -> pd.DataFrame:
    """n hours; `segments` says from which hour on which segment runs."""
    number = pd.Series([(segments or {}).get(h) for h in range(n)], dtype="float64").ffill()
    hours = [at(h) for h in range(n)]
    segment = number.fillna(1).astype("int64")
    return pd.DataFrame({"symbol": symbol, "hour_ts": hours, "listing_segment": segment})


def feed(rows: pd.DataFrame, missing: Any = ()) -> pd.DataFrame:
    lost = [at(h) for h in missing]
    return rows[["symbol", "hour_ts"]].assign(ok=~rows["hour_ts"].isin(lost))


def run(
    events: list[dict[str, Any]],
    n: int,
    missing: Any = (),
    *,
    segments: dict[int, int] | None = None,
    quote: dict[pd.Timestamp, float] | None = None,
    bars: bool = False,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """Family H of `n` hours of one symbol, by the hour or by the bar."""
    rows = rows_of(n, segments)
    known = quote or {}
    names = EVENT if not events else list(events[0])
    given = pd.DataFrame(events, columns=names).astype({"available_time": "datetime64[us]"})
    paid = pd.DataFrame(
        {
            "symbol": "AAA",
            "bar_ts" if bars else "hour_ts": pd.Series(list(known), dtype="datetime64[us]"),
            "quote_volume": pd.Series(list(known.values()), dtype="float64"),
        }
    )
    build = factors_15m if bars else family_h
    return build(given, feed(rows, missing), rows, paid, settings)


def values(frame: pd.DataFrame, *names: str, row: int = -1) -> list[float]:
    return [float(frame[name].iloc[row]) for name in names]


def buckets(frame: pd.DataFrame, lb: int, side: str = "long", row: int = -1) -> list[float]:
    """Sum and count of the large, the small and the others."""
    sizes = ("large", "small", "med")
    names = [f"{what}_{side}_{size}_lb{lb}" for size in sizes for what in ("sum", "count")]
    return values(frame, *names, row=row)


# --- names ----------------------------------------------------------------------------------


def test_names_and_counts() -> None:
    assert DEFAULT.base == BASE.split()
    assert DEFAULT.parity == PARITY.split()
    assert DEFAULT.extension == EXTENSION.split()
    assert [len(part) for part in DEFAULT] == [16, 88, 43]
    assert len(set(DEFAULT.all)) == 147
    assert len(bucket_columns(Settings())) == 24
    frame = run([], 2)
    assert list(frame) == ["symbol", "hour_ts", *DEFAULT.all]
    frame = run([], 2, bars=True)
    assert list(frame) == ["symbol", "bar_ts", "listing_segment", *DEFAULT.all]
    assert frame["bar_ts"].tolist() == [at(0, 15 * i) for i in range(8)]


def test_settings_name_the_columns() -> None:
    settings = Settings(
        liq_lb=(12,), mining_windows=(6, 48), mining_quantiles=(0.5, 0.99), bar_minutes=30
    )
    names = h_columns(settings)
    assert [len(part) for part in names] == [16, 12 + 2 + 5 + 2 * 15 + 4 * 12, 8 + 2 * 3 + 8 + 24]
    assert {"feat_brk_sum_long_med_lb12_w48_q99", "feat_z_skew_short_w6"} <= set(names.parity)
    assert "feat_brk_total_vol_short_w6_q50" in names.extension
    frame = run([event(at(1, 29), 5), event(at(1, 30), 7)], 2, bars=True, settings=settings)
    assert same(frame["long_liq_volume"].tolist(), [0, 0, 5, 7])


# --- base -----------------------------------------------------------------------------------


def test_an_hour_of_two_sides() -> None:
    events = [
        event(at(0), 30, "long", 2),
        event(at(0, 10), 10, "long", 1),
        event(at(0, 59, 59_999), 20, "short", 5),
    ]
    h = run(events, 1, quote={at(0): 600.0})
    assert same(values(h, *DEFAULT.base[:8]), [40, 20, 3, 5, 2, 1, 30, 20])
    assert same(values(h, *DEFAULT.base[8:10]), [60, -20 / 60])
    assert same(values(h, "liq_over_quote_volume", "liq_feed_ok"), [0.1, 1])
    assert same(values(h, "total_vol_long_lb24", "total_vol_short_lb48"), [40, 20])
    assert same(values(h, "diff_net_burn_vol_lb24", "diff_net_burn_vol_lb48"), [20, 20])


def test_the_side_of_the_order_says_who_was_liquidated() -> None:
    events = [event(at(0), 3) | {"side": "SELL"}, event(at(0), 5) | {"side": "BUY"}]
    for row in events:
        del row["liquidated_position"]
    h = run(events, 1)
    assert same(values(h, "long_liq_volume", "short_liq_volume"), [3, 5])


def test_the_moment_of_arrival_decides_the_bar() -> None:
    events = [event(at(0, 59, 59_999), 1), event(at(1), 2), event(at(1, 14, 59_999), 4)]
    assert same(run(events, 2)["long_liq_volume"].tolist(), [1, 6])
    bars = run([*events, event(at(1, 15), 8)], 2, bars=True)
    assert same(bars["long_liq_volume"].tolist(), [0, 0, 0, 1, 6, 8, 0, 0])


def test_silence_is_zero_and_no_feed_is_null() -> None:
    quiet = run(several(0, range(1, 21)), 2, quote={at(1): 50.0})
    zeros = [*DEFAULT.base[:9], "liq_over_quote_volume", *bucket_columns(Settings())]
    assert same(values(quiet, *zeros), [0.0] * len(zeros))
    nulls = ["liq_imbalance", "ratio_whale_long_lb24", "ratio_retail_short_lb48", "skew_long"]
    assert np.isnan(values(quiet, *nulls)).all()
    blind = run(several(1, range(1, 31)), 2, [1], quote={at(1): 50.0})
    assert same(values(blind, "liq_feed_ok"), [0])
    assert blind.drop(columns=["symbol", "hour_ts", "liq_feed_ok"]).iloc[1].isna().all()
    bars = run(several(1, range(1, 31)), 2, [1], bars=True)
    assert bars["liq_feed_ok"].tolist() == [1] * 4 + [0] * 4
    assert bars.iloc[4:][[c for c in DEFAULT.all if c != "liq_feed_ok"]].isna().all(axis=None)


def test_an_hour_unknown_to_the_coverage_has_no_feed() -> None:
    rows = rows_of(2)
    paid = pd.DataFrame({"symbol": ["AAA"], "hour_ts": [at(0)], "quote_volume": [1.0]})
    events = pd.DataFrame([event(at(1), 9)])
    h = family_h(events, feed(rows).iloc[:1], rows, paid)
    assert same(h["long_liq_volume"].tolist(), [0, None])
    assert h["liq_feed_ok"].tolist() == [1, 0]


def test_only_the_source_of_the_hour_counts() -> None:
    rows = rows_of(2)
    paid = pd.DataFrame({"symbol": ["AAA"], "hour_ts": [at(0)], "quote_volume": [1.0]})
    events = pd.DataFrame(
        [event(at(h), 2 + h, source=s) for h in range(2) for s in ("archive", "stream")]
    )
    source = pd.Series(["archive", None], dtype="object")
    coverage = feed(rows, [1]).assign(source=source)
    h = family_h(events, coverage, rows, paid)
    assert same(h["long_liq_volume"].tolist(), [2, None])


def test_forced_share_of_trading_needs_trading() -> None:
    h = run(several(0, [4]) + several(1, [4]), 3, quote={at(0): 0.0, at(1): 8.0, at(2): 8.0})
    assert same(h["liq_over_quote_volume"].tolist(), [None, 0.5, 0])
    bars = run([event(at(0, 20), 4)], 1, bars=True, quote={at(0, 15): 16.0, at(0, 30): 1.0})
    assert same(bars["liq_over_quote_volume"].tolist(), [None, 0.25, 0, None])


def test_quote_volume_of_bars_is_that_of_valid_minutes() -> None:
    klines = [
        candle(at(0, 0), quote_volume=5.0),
        candle(at(0, 14), quote_volume=7.0),
        candle(at(0, 14.5), low=-1.0, quote_volume=100.0),
        candle(at(0, 15), quote_volume=None, volume=2.0),
        dead(at(0, 45)),
    ]
    paid = bar_quote_volume({"klines_1m": pd.DataFrame(klines)})
    assert paid["bar_ts"].tolist() == [at(0), at(0, 15), at(0, 45)]
    assert paid["quote_volume"].tolist() == [12, 200, 0]


# --- buckets --------------------------------------------------------------------------------


def test_thresholds_pool_both_sides() -> None:
    """Of 1 … 21 the quantiles are 16 and 19: 16 is still small, 19 is not yet large."""
    past = several(0, range(1, 12)) + several(0, range(12, 22), "short")
    now = several(1, [15, 16, 17, 19, 20, 30]) + several(1, [18, 40], "short")
    h = run(past + now, 2)
    for lb in (24, 48):
        assert same(buckets(h, lb), [50, 2, 31, 2, 36, 2])
        assert same(buckets(h, lb, "short"), [40, 1, 0, 0, 18, 1])
    assert same(values(h, "ratio_whale_long_lb24", "ratio_whale_short_lb48"), [50 / 117, 40 / 58])
    assert same(values(h, "ratio_retail_long_lb24", "ratio_retail_short_lb48"), [2 / 6, 0])
    assert same(values(h, "diff_net_whale_vol_lb24", "diff_net_whale_vol_lb48"), [10, 10])
    whales = [f"ratio_whale_retail_{side}_lb24" for side in ("long", "short")]
    assert same(values(h, *whales), [math.log(50 / 31), None])


def test_thresholds_interpolate() -> None:
    """Of 1 … 20 the quantiles are 15.25 and 18.1."""
    h = run(several(0, range(1, 21)) + several(1, [15.25, 15.26, 18.1, 18.11]), 2)
    assert same(buckets(h, 24), [18.11, 1, 15.25, 1, 33.36, 2])


def test_fewer_than_twenty_events_classify_nothing() -> None:
    h = run(several(0, range(1, 20)) + several(1, [5], "short"), 2)
    assert np.isnan(h[bucket_columns(Settings())]).all(axis=None)
    nulls = ["ratio_whale_short_lb24", "ratio_retail_short_lb24", "diff_net_whale_vol_lb24"]
    assert np.isnan(values(h, *nulls)).all()
    assert same(values(h, "total_vol_short_lb24", "diff_net_burn_vol_lb24"), [5, -5])
    h = run(several(0, range(1, 20)) + several(1, [5]), 2, settings=Settings(liq_min_events=19))
    assert same(buckets(h, 24), [0, 0, 5, 1, 0, 0])


def test_thresholds_look_back_whole_hours() -> None:
    """The events of hour 0 are in [h - 24, h) up to hour 24, and in [h - 48, h) up to hour 48."""
    h = run(several(0, range(1, 21)), 50)
    known = h[["sum_long_large_lb24", "sum_long_large_lb48"]].notna()
    assert np.flatnonzero(known["sum_long_large_lb24"]).tolist() == list(range(1, 25))
    assert np.flatnonzero(known["sum_long_large_lb48"]).tolist() == list(range(1, 49))


def test_events_of_the_own_hour_do_not_judge_themselves() -> None:
    past = several(0, range(1, 22))
    later = [event(at(1, m), 1000 + m) for m in range(30)] + [event(at(1, 50), 25)]
    bars = run(past + later, 2, bars=True)
    large = bars["count_long_large_lb24"].tolist()
    assert same(large, [None] * 4 + [15, 15, 0, 1])


def test_events_of_hours_without_feed_count_nowhere() -> None:
    events = several(0, range(1, 22)) + several(1, range(100, 130)) + several(2, [50])
    h = run(events, 3, [1])
    assert same(buckets(h, 24), [50, 1, 0, 0, 0, 0])
    h = run(events, 3, [0, 1])
    assert np.isnan(buckets(h, 24)).all()


def test_events_of_another_listing_are_no_history() -> None:
    events = several(0, range(1, 22)) + several(1, [50]) + several(2, [50])
    h = run(events, 3, segments={2: 2})
    assert same(buckets(h, 24, row=1), [50, 1, 0, 0, 0, 0])
    assert np.isnan(buckets(h, 24, row=2)).all()


def test_symbols_are_apart() -> None:
    rows = pd.concat([rows_of(2, symbol="BBB"), rows_of(2)], ignore_index=True)
    paid = pd.DataFrame({"symbol": ["AAA"], "hour_ts": [at(1)], "quote_volume": [42.0]})
    events = several(0, range(1, 22)) + [row | {"symbol": "BBB"} for row in several(1, [21])]
    h = family_h(pd.DataFrame(events + several(1, [21])), feed(rows), rows, paid)
    assert h["symbol"].tolist() == ["AAA", "AAA", "BBB", "BBB"]
    assert same(h["count_long_large_lb24"].tolist(), [None, 1, None, None])
    assert same(h["long_liq_volume"].tolist(), [231, 21, 0, 21])
    assert same(h["liq_over_quote_volume"].tolist(), [None, 0.5, None, None])


# --- shape ----------------------------------------------------------------------------------


def test_shape_of_five_events() -> None:
    """Of 1, 1, 1, 1, 6: m2 = 4, m3 = 12, m4 = 52, so G1 = √5 and G2 = 5."""
    h = run(several(0, [1, 1, 6, 1, 1]) + several(0, [9, 9, 9, 4, 9], "short"), 1)
    assert same(values(h, "skew_long", "skew_short"), [math.sqrt(5), -math.sqrt(5)])
    assert same(values(h, "kurt_long", "kurt_short"), [5, 5])
    assert same(values(h, "diff_skew"), [2 * math.sqrt(5)])


def test_shape_agrees_with_pandas() -> None:
    sizes = np.random.default_rng(1).lognormal(8, 2, 200)
    h = run(several(0, sizes), 1)
    theirs = pd.DataFrame({"value": sizes})
    want: list[float | None] = [float(x["value"]) for x in (theirs.skew(), theirs.kurt())]
    assert same(values(h, "skew_long", "kurt_long"), want)


def test_no_shape_of_four_or_of_equal_events() -> None:
    h = run(several(0, [1, 2, 3, 5]) + several(0, [0.1] * 7, "short"), 1)
    assert np.isnan(values(h, "skew_long", "kurt_long", "skew_short", "kurt_short")).all()
    h = run(several(0, [1, 1, 6, 1, 1]) + several(0, [0.1] * 7, "short"), 1)
    assert same(values(h, "skew_long", "diff_skew"), [math.sqrt(5), None])
    bars = run([event(at(0, 4 * m), 1 + m % 5) for m in range(8)], 1, bars=True)
    assert bars["skew_long"].isna().all()


# --- rolling --------------------------------------------------------------------------------


def alternating(n: int, one: float = 0, other: float = 2) -> dict[int, float]:
    return {h: other if h % 2 else one for h in range(n)}


def test_z_over_the_day_before() -> None:
    """Before hour 24 stand twelve 0 and twelve 2: mean 1, variance 24 / 23."""
    h = run(hourly(alternating(24)) + hourly({24: 6}), 25)
    name = "feat_z_diff_net_burn_vol_lb24_w24"
    assert same(values(h, name), [5 / math.sqrt(24 / 23)])
    assert h[name].first_valid_index() == 12
    assert same(values(h, name, row=12), [-1 / math.sqrt(12 / 11)])
    h = run(hourly(alternating(24, other=-2), "short") + hourly({24: 6}), 25)
    assert same(values(h, name), [5 / math.sqrt(24 / 23)])


def test_z_counts_only_hours_with_feed() -> None:
    """Half of the rows is enough; the values that are there are 0 and 2."""
    name = "feat_z_diff_net_burn_vol_lb48_w24"
    h = run(hourly(alternating(25, 6)), 25, range(12))
    assert same(values(h, name), [2 / math.sqrt(4 * 12 / 11)])
    h = run(hourly(alternating(25, 6)), 25, range(13))
    assert np.isnan(values(h, name)).all()


def test_z_of_a_constant_is_null() -> None:
    h = run(hourly(dict.fromkeys(range(24), 0.1)) + hourly({24: 6}), 25)
    assert h["feat_z_diff_net_burn_vol_lb24_w24"].isna().all()
    assert np.isnan(values(h, "feat_z_liq_imbalance_w24", "feat_z_skew_long_w24")).all()


def test_z_of_what_is_often_null() -> None:
    """Twelve hours of 24 had a victim: six times longs alone, six times shorts alone."""
    longs, shorts = hourly(dict.fromkeys(range(6), 1)), dict.fromkeys(range(6, 12), 3)
    h = run(longs + hourly(shorts, "short") + hourly({24: 1}) + hourly({24: 3}, "short"), 25)
    assert same(
        values(h, "liq_imbalance", "feat_z_liq_imbalance_w24"), [0.5, 0.5 / (12 / 11) ** 0.5]
    )
    assert same(values(h, "feat_z_liq_imbalance_w24", row=23), [None])


def test_rarity_needs_126_hours_of_168() -> None:
    h = run(hourly(alternating(168)) + hourly({168: 4}), 169)
    z, rank = h["long_liq_z_168h"], h["long_liq_rank_168h"]
    assert (z.first_valid_index(), rank.first_valid_index()) == (126, 125)
    assert same([z[168], rank[168]], [3 / math.sqrt(168 / 167), 1])
    assert same([rank[125], rank[126], rank[167]], [63 / 125, 0, 84 / 167])
    assert h["short_liq_z_168h"].isna().all()
    assert same(h["short_liq_rank_168h"].tolist()[125:], [0] * 44)


def test_a_window_of_168_hours_forgets() -> None:
    h = run(hourly({0: 1000, 100: 1}), 170)
    frames = [[1000, 1] + [0] * 166, [1] + [0] * 167]
    for got, frame in zip(h["long_liq_z_168h"].tolist()[168:], frames, strict=True):
        assert same([got], [float(-np.mean(frame) / np.std(frame, ddof=1))])


def test_ranks_by_the_day() -> None:
    """With 20 events of 1 … 20 in every hour but the last, whose 30 are large."""
    past = [row for h in range(24) for row in several(h, range(1, 21))]
    h = run(past + several(24, [30, 30, 30]), 25)
    names = [f"feat_rank_count_long_{size}_lb24_w24" for size in ("large", "small", "med")]
    assert same(values(h, *names), [1, 0, 0])
    assert same(values(h, *names, row=23), [0, 0, 0])
    assert h[names[0]].first_valid_index() == 12


def test_breakout_is_a_multiple_of_a_large_active_bar() -> None:
    """Of 1 … 5 the quantile is 4.6; hours without events do not dilute it."""
    name = "feat_brk_total_vol_long_w24_q90"
    h = run(hourly({1: 5, 4: 2, 9: 1, 15: 4, 20: 3, 24: 9.2}), 26)
    assert same(h[name].tolist()[20:], [None, 0, 0, 0, 2, 0])
    h = run(hourly({1: 5, 4: 2, 9: 1, 15: 4, 25: 9.2}), 26)
    assert h[name].isna().all()
    h = run(hourly({1: 5, 4: 2, 9: 1, 15: 4, 20: 3}), 27)
    assert same(h[name].tolist()[21:], [0, 0, 0, 0, 0, None])
    assert h["feat_brk_total_vol_short_w24_q90"].isna().all()


def test_breakout_without_feed_is_null() -> None:
    h = run(hourly({h: 1 + h for h in range(8)}), 8, [0, 7])
    want = [None, None, None, None, None, None, 7 / 5.6, None]
    assert same(h["feat_brk_total_vol_long_w24_q90"].tolist(), want)


def test_windows_do_not_cross_listings() -> None:
    events = hourly(alternating(300))
    h = run(events, 300, segments={150: 2})
    fresh = run(hourly({h: 2 * (h % 2) for h in range(150)}), 150)
    own = h.iloc[150:].drop(columns=["symbol", "hour_ts"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(own, fresh.drop(columns=["symbol", "hour_ts"]))
    assert fresh["long_liq_z_168h"].notna().any()


# --- bars -----------------------------------------------------------------------------------


def quarters(values: dict[int, float]) -> list[dict[str, Any]]:
    return [event(at(0, 15 * i), v) for i, v in values.items()]


def test_windows_of_bars_are_hours_too() -> None:
    """24 hours are 96 bars, of which half must be known; 168 hours are 672, of which 504."""
    h = run(quarters(alternating(96)) + quarters({96: 6}), 130, bars=True)
    z = h["feat_z_diff_net_burn_vol_lb24_w24"]
    assert z.first_valid_index() == 48
    assert same([z[96]], [5 / math.sqrt(96 / 95)])
    assert (h["long_liq_z_168h"].first_valid_index(), len(h)) == (504, 520)
    assert h["long_liq_rank_168h"].first_valid_index() == 503
    before = [6.0] + [2.0] * 48 + [0.0] * 455
    want = float(-np.mean(before) / np.std(before, ddof=1))
    assert same([h["long_liq_z_168h"][504]], [want])
    assert same([h["long_liq_rank_168h"][504]], [0])


def test_breakout_of_bars_sees_96_of_them() -> None:
    h = run(quarters({0: 5, 50: 2, 60: 1, 70: 4, 90: 3, 96: 9.2, 97: 9.2}), 25, bars=True)
    brk = h["feat_brk_total_vol_long_w24_q90"]
    assert same([brk[90], brk[91], brk[96]], [None, 0, 2])
    assert same([brk[97]], [9.2 / (4 + 0.6 * 5.2)])


def test_bars_of_an_hour_share_its_thresholds() -> None:
    h = run(several(0, range(1, 22)) + quarters({4: 20, 5: 16, 7: 17}), 2, bars=True)
    got = h[["sum_long_large_lb24", "sum_long_small_lb24", "sum_long_med_lb24"]].iloc[4:]
    assert got.to_numpy().tolist() == [[20, 0, 0], [0, 16, 0], [0, 0, 0], [0, 0, 17]]
    assert h["sum_long_large_lb24"].iloc[:4].isna().all()


# --- against the engine ---------------------------------------------------------------------


def test_published_breakout_by_hand() -> None:
    x = pd.Series([0.0, None, 0.0, 10840.66922, None, 6.0])
    want = [None, None, 0, 10840.66922 / 1e-9, None, 6 / (0.8 * 10840.66922)]
    assert published_breakout(x).tolist() == pytest.approx(
        [np.nan if w is None else w for w in want], nan_ok=True, rel=1e-9
    )


def bursts(n_bars: int) -> list[dict[str, Any]]:
    """Now and then a cascade, mostly of one side; a few events, of either side, in between."""
    random = np.random.default_rng(7)
    heat, long_share = 0.0, 0.5
    events = []
    for i in range(n_bars):
        if random.random() < 0.05:
            heat += random.exponential(40)
            long_share = random.choice([0.1, 0.9])
        heat *= 0.85
        for _ in range(random.poisson(1 + heat)):
            when = at(0, 15 * i + 15 * random.random())
            is_long = random.random() < (long_share if heat > 1 else 0.5)
            events.append(event(when, random.lognormal(7, 2), "long" if is_long else "short"))
    return events


def test_bursts_explode_in_the_engine_only() -> None:
    """After hours in which no whale of the side was hit, the engine divides by the tiny number."""
    days = 12
    h = run(bursts(96 * days), 24 * days, bars=True)
    active = h["liq_total_volume"] > 0
    for side in ("long", "short"):
        name = f"sum_{side}_large_lb24"
        theirs = published_breakout(h[name].where(active))
        ours = h[f"feat_brk_{name}_w24_q90"]
        assert theirs.max() > 1e13
        assert (theirs > 1e6).sum() > 10
        assert ours.max() < 30
        assert ours[96:].isna().mean() < 0.1


@pytest.mark.parametrize("bars", [False, True])
def test_later_events_change_no_row(bars: bool) -> None:
    events = bursts(200)
    whole = run(events, 50, [9, 30], bars=bars, segments={20: 2})
    known = [row for row in events if row["available_time"] < at(41)]
    early = run(known, 41, [9, 30], bars=bars, segments={20: 2})
    pd.testing.assert_frame_equal(whole.iloc[: len(early)], early, rtol=1e-12, atol=0)
