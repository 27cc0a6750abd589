"""Family E against hours worked out by hand."""

from __future__ import annotations

from math import exp, log, sqrt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from . import COLUMNS, family_e
from .minutes import correlation, line, log_ratio, skew_kurt, std
from .test_momentum import flat, minute, walk
from .test_reference import at, build, candle, column, funding, same, tables
from .volatility import weighted_quantile

LN2 = log(2)
DOC = [c for c in COLUMNS["E"] if c.startswith("doc_")]
CORR = [c for c in COLUMNS["E"] if c.startswith("corr_")]
SHAPE = ["shape_skew", "shape_kurt", "shape_skratio"]
SHAPE_VOL = [f"{c}Vol" for c in SHAPE]
QUANTILES = [c for c in DOC if "pdf" in c]


def volatility(klines: list[dict[str, Any]], hours: float = 1, **more: Any) -> pd.DataFrame:
    return build(tables(klines, **more), hours, families="E")["E"]


def first(klines: list[dict[str, Any]], *names: str) -> list[float]:
    frame = volatility(klines)
    return [frame[name].iloc[0] for name in names]


def volumes(klines: list[dict[str, Any]], values: Any) -> list[dict[str, Any]]:
    return [
        row | {"volume": float(v), "quote_volume": float(v)}
        for row, v in zip(klines, values, strict=True)
    ]


def later(klines: list[dict[str, Any]], hour: int) -> list[dict[str, Any]]:
    shift = pd.Timedelta(hours=hour)
    return [row | {"open_time": row["open_time"] + shift} for row in klines]


def jump(size: float, at_minute: int = 30, n: int = 60) -> list[dict[str, Any]]:
    """100 before the minute, `size` times as much from it on."""
    return walk({m: 100.0 if m < at_minute else 100.0 * size for m in range(n)})


# --- pathological hours ---------------------------------------------------------------------


def test_constant_price_and_volume() -> None:
    for price in (100.0, 0.1, 0.3):
        got = volatility(flat(range(60), price)).iloc[0]
        zero = ["vol_1m_std", "vol_1m_cv", "range_ratio_1m_std", "log_range_1m_std", "up_vol_l2"]
        zero += ["down_vol_l2", "rv_std_sqrt60", "rv_l2", "rv_per_vol", "liq_amihud"]
        zero += ["liq_range_vol_ratio", "liq_spread_std"]
        assert (got[zero] == 0).all()
        null = ["up_var_share", "down_var_share", "rv_stability_24h", "liq_tail_risk"]
        null += ["liq_tail_var_share", *SHAPE, *SHAPE_VOL, *CORR, *DOC]
        assert got[null].isna().all()
        assert got[["vol_1m_mean", "min_range_ratio_max"]].tolist() == [1, 1]


def test_no_volume() -> None:
    got = volatility(volumes(jump(2.0), [0.0] * 60)).iloc[0]
    assert got[["vol_1m_mean", "vol_1m_std"]].tolist() == [0, 0]
    null = ["vol_1m_cv", "rv_per_vol", *SHAPE_VOL, *CORR, *DOC]
    null += [c for c in COLUMNS["E"] if c.startswith("liq_") and "tail" not in c]
    null.remove("liq_spread_std")
    assert got[null].isna().all()
    assert got["rv_l2"] == pytest.approx(LN2)


@pytest.mark.parametrize(("n", "known"), [(1, False), (44, False), (45, True)])
def test_45_minutes_are_needed(n: int, known: bool) -> None:
    klines = volumes(jump(2.0, n // 2, n), range(1, n + 1))
    got = volatility(klines).iloc[0][COLUMNS["E"]]
    assert got["is_funding_hour"] == 1  # no settlement is known at 00:00
    late = {"rv_stability_24h", "liq_funding_window_share"}
    want = set(COLUMNS["E"]) - late if known else {"is_funding_hour"}
    assert set(got.index[got.notna()]) == want


def test_an_hour_from_hourly_candles_has_no_minutes() -> None:
    frame = volatility([candle(at(0))], 3, klines_1h=[candle(at(1)), candle(at(2))])
    assert frame.drop(columns=["symbol", "hour_ts", "is_funding_hour"]).isna().to_numpy().all()
    assert column(frame, "is_funding_hour") == [1, 0, 0]


# --- volatility -----------------------------------------------------------------------------


def test_up_and_down() -> None:
    closes = {m: 100.0 if m < 10 else 200.0 if m < 20 else 50.0 for m in range(60)}
    got = first(walk(closes), "up_vol_l2", "down_vol_l2", "up_var_share", "down_var_share")
    assert same(got, [LN2, 2 * LN2, 0.2, 0.8])
    # the mean of r is -ln2/60 and the sum of squares 5 ln2²
    rv = LN2 * sqrt(5 - 1 / 60)
    got = first(walk(closes, v=4.0), "rv_l2", "rv_std_sqrt60", "rv_per_vol")
    assert same(got, [LN2 * sqrt(5), rv, rv * 1e6 / 4])


def test_a_60_percent_minute_is_data() -> None:
    got = first(jump(1.6), "rv_l2", "up_var_share", "min_range_ratio_max", "liq_tail_risk")
    assert same(got, [log(1.6), 1, 1.6, 0])


def test_wicks() -> None:
    klines = [minute(m, 100, 100, high=100.0 * (1 + m % 2)) for m in range(60)]
    names = ["range_ratio_1m_std", "log_range_1m_std", "min_range_ratio_max", "liq_spread_std"]
    assert same(first(klines, *names), [0.5, LN2 / 2, 2, 0.5])
    assert same(first(klines, "liq_range_vol_ratio"), [0.5e6])
    klines[1] |= {"quote_volume": 0.0}  # 29 wicks of 59 minutes with money
    assert same(first(klines, "liq_range_vol_ratio"), [29e6 / 59])


def test_volume_rhythm() -> None:
    got = first(volumes(flat(range(60)), [1, 3] * 30), "vol_1m_mean", "vol_1m_std", "vol_1m_cv")
    assert same(got, [2, 1, 0.5])


def test_volatility_against_the_day() -> None:
    # 17 jumps by a factor 2, then one by 4: its volatility is twice theirs
    klines = [row for h in range(17) for row in later(jump(2.0), h)] + later(jump(4.0), 17)
    frame = volatility(klines, 19)
    want = [None] * 17 + [2 * 18 / 19, None]
    assert same(column(frame, "rv_stability_24h"), want)
    calm = volatility([row for h in range(18) for row in later(flat(range(60)), h)], 18)
    assert calm["rv_stability_24h"].isna().all()


def test_the_day_loses_its_oldest_rows_over_a_gap_and_ends_with_the_segment() -> None:
    hours = [*range(21), 24, 25]  # three hours without a minute
    klines = [row for h in hours for row in later(jump(4.0 if h < 2 else 2.0), h)]
    got = column(volatility(klines, 26), "rv_stability_24h")
    # row 24 sees 1..24: one double, 19 + 1 singles; row 25 sees 2..25: no double any more
    assert same(got[20:], [21 / 23, None, None, None, 21 / 22, 1])
    splits = [{"symbol": "AAA", "split_ts": at(24)}]
    got = column(volatility(klines, 26, listing_splits=splits), "rv_stability_24h")
    assert same(got[20:], [21 / 23, None, None, None, None, None])


# --- shape ----------------------------------------------------------------------------------


def test_shape_of_one_pulse() -> None:
    # one value of 60 differs: skew and kurtosis of a coin with p = 1/60
    pq = 59 / 3600
    skew, kurt = (1 - 2 / 60) / sqrt(pq), (1 - 6 * pq) / pq
    want = [
        skew * sqrt(60 * 59) / 58,
        59 / (58 * 57) * (61 * kurt + 6),
        skew / (kurt + 3),
    ]
    assert same(first(jump(2.0), *SHAPE), want)
    klines = volumes(flat(range(60)), [11 if m == 7 else 1 for m in range(60)])
    assert same(first(klines, *SHAPE_VOL), want)
    assert same(first(klines, *SHAPE), [None] * 3)


def test_shape_of_two_equal_halves() -> None:
    klines = volumes(flat(range(60)), [1, 3] * 30)
    want = [0, 59 / (58 * 57) * (61 * -2 + 6), 0]
    assert first(klines, *SHAPE_VOL) == pytest.approx(want, abs=1e-12)


def test_shape_is_that_of_pandas() -> None:
    rng = np.random.default_rng(5)
    r, v = rng.standard_t(4, 60) / 1000, rng.lognormal(0, 1, 60)
    closes = dict(enumerate((100 * np.exp(np.cumsum(r))).tolist()))
    got = first(volumes(walk(closes), v), *SHAPE[:2], *SHAPE_VOL[:2])
    want = [pd.Series(r).skew(), pd.Series(r).kurt(), pd.Series(v).skew(), pd.Series(v).kurt()]
    assert got == pytest.approx(want, rel=1e-9)


# --- price against volume -------------------------------------------------------------------


def test_lead_and_lag() -> None:
    rng = np.random.default_rng(3)
    price = rng.uniform(90, 110, 61)
    closes = dict(enumerate(price[:60].tolist()))
    # volume one minute before the price it equals, then one minute after
    ahead = volumes(walk(closes), price[1:])
    assert first(ahead, "corr_pvd") == pytest.approx([1], abs=1e-12)
    behind = volumes(walk(closes), [90.0, *price[:59]])
    assert first(behind, "corr_pvl") == pytest.approx([1], abs=1e-12)
    together = volumes(walk(closes), 200 - price[:60])
    got = first(together, "corr_pv", "corr_pvd")
    want = np.corrcoef(price[1:60], 200 - price[:59])[0, 1]
    assert got == pytest.approx([-1, want], abs=1e-12)


@pytest.mark.parametrize(("holes", "known"), [(4, True), (5, False)])
def test_40_pairs_of_adjacent_minutes(holes: int, known: bool) -> None:
    lost = set(range(5, 5 + 5 * holes, 5))
    minutes = [m for m in range(60) if m not in lost][:45]  # 45 minutes in holes + 1 runs
    klines = volumes(walk({m: 100.0 + m % 7 for m in minutes}), [1 + m % 3 for m in minutes])
    got = volatility(klines).iloc[0]
    assert got[["corr_prv", "corr_pv"]].notna().all()
    assert got[["corr_pvd", "corr_pvl", "corr_prvr", "corr_pvr"]].notna().tolist() == [known] * 4


def test_volume_bursts_are_clipped_and_need_volume_before() -> None:
    v = [1.0] * 60
    v[10], v[20] = 100.0, 0.0
    closes = {m: 100.0 + m % 7 for m in range(60)}
    dv = np.zeros(60)
    dv[10], dv[11], dv[20] = 10, -0.99, -1
    use = [m for m in range(1, 60) if m != 21]  # nothing grows from nothing
    price = np.array(list(closes.values()))
    r = np.log(price / np.concatenate([[100], price[:-1]]))
    want = [np.corrcoef(x[use], dv[use])[0, 1] for x in (r, price)]
    got = first(volumes(walk(closes), v), "corr_prvr", "corr_pvr")
    assert got == pytest.approx(want, rel=1e-10)


def test_a_side_that_is_constant_over_the_pairs_used_has_no_correlation() -> None:
    closes = {m: 100.0 if m else 50.0 for m in range(60)}  # only the first close differs
    klines = volumes(walk(closes), [1 + m % 3 for m in range(60)])
    got = volatility(klines).iloc[0]
    assert got[["corr_pvd", "corr_pvr"]].isna().all()
    assert got[["corr_pv", "corr_pvl"]].notna().all()
    # constant volume but for the last minute: nothing precedes with another volume
    klines = volumes(jump(2.0), [1.0] * 59 + [2.0])
    got = volatility(klines).iloc[0]
    assert got[["corr_pvd"]].isna().all()
    assert got[["corr_pv", "corr_pvl", "corr_pvr"]].notna().all()


# --- liquidity ------------------------------------------------------------------------------


def test_edges_by_minute_index() -> None:
    minutes = [m for m in range(2, 60) if m not in (7, 57)]  # 56 minutes of volume 1
    names = ["liq_funding_impact", "liq_last_5min_R", "liq_top_of_hour_ratio"]
    assert same(first(flat(minutes), *names), [7 / 56, 4 / 56, 7 / 56])


def test_price_per_dollar_is_a_mean_over_minutes_with_money() -> None:
    klines = jump(2.0)
    klines[30] |= {"quote_volume": 4.0}
    klines[0] |= {"quote_volume": 0.0}
    assert same(first(klines, "liq_amihud"), [1e6 * LN2 / 4 / 59])


def test_tail_risk() -> None:
    closes = {m: 100.0 if m < 49 else 200.0 if m < 50 else 100.0 for m in range(60)}
    got = first(walk(closes), "liq_tail_risk", "liq_tail_var_share")
    assert same(got, [sqrt(0.5), 0.5])


def test_funding_hours() -> None:
    klines = [candle(at(h)) for h in range(20)]
    paid = funding((at(3, ms=7), 8, 1e-4), (at(11, 0, ms=-9), 8, 1e-4), (at(17, 10), 8, 1e-4))
    got = volatility(klines, 20, funding_rate=paid)["is_funding_hour"]
    # 00:00 by the clock, 03:00 and 11:00 by events; 08:00 and 16:00 come after an event
    assert np.flatnonzero(got).tolist() == [0, 3, 11]
    # a new segment knows no settlement at first; the one at 11:00 counts again
    splits = [{"symbol": "AAA", "split_ts": at(7)}]
    got = volatility(klines, 20, funding_rate=paid, listing_splits=splits)["is_funding_hour"]
    assert np.flatnonzero(got).tolist() == [0, 3, 8, 11]


def test_volume_around_a_settlement() -> None:
    one = volumes(flat(range(60)), [2.0] * 5 + [1.0] * 50 + [3.0] * 5)  # V = 75
    klines = [row for h in range(6) for row in later(one, h)]
    klines = [row for row in klines if row["open_time"] < at(4) or row["open_time"] >= at(4, 16)]
    events = funding((at(0), 1, 0.0), (at(2), 1, 0.0), (at(5), 1, 0.0))
    got = column(volatility(klines, 6, funding_rate=events), "liq_funding_window_share")
    # 00:00 has no hour before, 04:00 too few minutes
    assert same(got, [None, None, 25 / 150, None, None, None])
    splits = [{"symbol": "AAA", "split_ts": at(2)}]
    frame = volatility(klines, 6, funding_rate=events, listing_splits=splits)
    assert frame["liq_funding_window_share"].isna().all()


# --- volume over return levels --------------------------------------------------------------


def levels(down: float, none: float, up: float) -> list[dict[str, Any]]:
    """Returns of -ln2, 0, +ln2 with the given volumes (the zero one spread over 58 minutes)."""
    closes = {m: 200.0 if m == 20 else 100.0 for m in range(60)}
    volume = [up if m == 20 else down if m == 21 else none / 58 for m in range(60)]
    return volumes(walk(closes), volume)


def test_quantiles_of_volume() -> None:
    got = first(levels(10, 58, 32), *QUANTILES)
    assert same(got, [0, LN2, LN2, LN2, LN2, LN2])
    got = first(levels(72.5, 14.5, 13), *QUANTILES)  # 0.725, 0.87, 1
    assert same(got, [-LN2, -LN2, 0, LN2, LN2, LN2])
    got = first(levels(5, 92, 3), *QUANTILES)
    assert same(got, [0, 0, 0, 0, 0, 0])


def test_a_quantile_reached_exactly_counts() -> None:
    x = np.array([3.0, 1.0, 2.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0])
    assert [weighted_quantile(x, np.full(10, 0.1), p) for p in (0.6, 0.7, 0.8)] == [6, 7, 8]
    assert weighted_quantile(x, np.full(10, 0.1), 0.95) == 10


def test_moments_of_the_profile() -> None:
    # bins 0, 12 and 24 hold 0.10, 0.58 and 0.32, the other 22 nothing; the mean share is 0.04
    d = np.array([0.06, 0.54, 0.28] + [-0.04] * 22)
    m2, m3, m4 = (float(np.mean(d**k)) for k in (2, 3, 4))
    got = first(levels(10, 58, 32), "doc_std", "doc_skew", "doc_kurt")
    assert same(got, [sqrt(m2), m3 / m2**1.5, m4 / m2**2 - 3])
    # in units of ln2: mean 0.22
    d, w = np.array([-1.22, -0.22, 0.78]), np.array([0.10, 0.58, 0.32])
    m2, m3, m4 = (float(np.sum(w * d**k)) for k in (2, 3, 4))
    got = first(levels(10, 58, 32), "doc_wstd", "doc_wskew", "doc_wkurt")
    assert same(got, [LN2 * sqrt(m2), m3 / m2**1.5, m4 / m2**2 - 3])


def test_busiest_levels() -> None:
    # returns 0.0001 (m+1), all different, with volumes 1 .. 60 of 1830
    closes = {m: 100 * exp(0.0001 * (m + 1) * (m + 2) / 2) for m in range(60)}
    klines = volumes(walk(closes), range(1, 61))
    names = ["doc_vol5_ratio", "doc_vol10_ratio", "doc_vol50_ratio"]
    assert same(first(klines, *names), [290 / 1830, 555 / 1830, 1775 / 1830])
    assert same(first(levels(10, 58, 32), *names), [1, 1, 1])


def test_returns_that_agree_to_eight_digits_are_one_level() -> None:
    # 0.001 (m mod 10 + 1), a third of a billionth apart from one another in the six repetitions
    r = [0.001 * (m % 10 + 1) + 1e-9 * (m // 10) / 3 for m in range(60)]
    closes = dict(enumerate((100 * np.exp(np.cumsum(r))).tolist()))
    assert same(first(walk(closes), "doc_vol5_ratio", "doc_vol10_ratio"), [0.5, 1])


def test_returns_without_volume_are_no_levels() -> None:
    klines = jump(2.0)
    klines[30] |= {"volume": 0.0, "quote_volume": 0.0}
    got = volatility(klines).iloc[0]
    assert got[DOC].isna().all()
    assert got["rv_l2"] == pytest.approx(LN2)


# --- the statistics themselves --------------------------------------------------------------


def test_statistics_keep_their_digits() -> None:
    x = 1e8 + np.array([1.0, 2.0, 3.0, 4.0] * 10)
    assert std(x) == pytest.approx(sqrt(1.25), rel=1e-12)
    assert line(x, 2 * x) == pytest.approx((2, 1), rel=1e-12)
    assert correlation(x, -x) == pytest.approx(-1, rel=1e-12)
    assert skew_kurt(x) == pytest.approx((0, 41 / 25 - 3), abs=1e-12)
    got = log_ratio(np.array([1 + 2**-40, 8.0, 0.125]), np.array([1.0, 4.0, 1.0]))
    assert got.tolist() == pytest.approx([2**-40 - 2**-81, LN2, -3 * LN2], rel=1e-15)


def test_family_e_reads_its_own_minutes() -> None:
    inputs = tables(jump(2.0))
    frames = build(inputs, 1, families="E")
    pd.testing.assert_frame_equal(family_e(inputs, frames["T"]), frames["E"])
