"""Family D against hours worked out by hand."""

from __future__ import annotations

from math import exp, log
from typing import Any

import numpy as np
import pandas as pd
import pytest

from . import family_d
from .momentum import baseline_z
from .test_reference import Tables, at, build, candle, column, dead, same, tables

LN2 = log(2)


def minute(m: float, o: float, c: float, v: float = 1.0, **over: Any) -> dict[str, Any]:
    """A minute from `o` to `c` without wicks; its quote volume is `v` unless told otherwise."""
    more = {"open": o, "high": max(o, c), "low": min(o, c), "quote_volume": v} | over
    return candle(at(minutes=m), c, volume=v, **more)


def walk(closes: dict[int, float], start: float = 100.0, **over: Any) -> list[dict[str, Any]]:
    """The hour's minutes at the given closes, each opening at the close before."""
    opens = [start, *list(closes.values())[:-1]]
    return [minute(m, o, c, **over) for (m, c), o in zip(closes.items(), opens, strict=True)]


def flat(minutes: range | list[int], price: float = 100.0) -> list[dict[str, Any]]:
    return walk(dict.fromkeys(minutes, price), price)


def momentum(klines: list[dict[str, Any]], hours: float = 1, **more: Any) -> pd.DataFrame:
    return build(tables(klines, **more), hours, families="D")["D"]


def first(klines: list[dict[str, Any]], *names: str) -> list[float]:
    frame = momentum(klines)
    return [frame[name].iloc[0] for name in names]


SEGMENTS = [
    "seg_head_logret",
    "seg_tail_logret",
    "seg_tail_minus_head",
    "seg_tail_share",
    "seg_tail_share_signed",
]


def test_head_and_tail() -> None:
    # 100 to 200 in the head, 200 to 400 at minute 45, back to 100 at 59
    closes = dict.fromkeys(range(60), 100.0)
    closes |= dict.fromkeys(range(20, 45), 200.0) | dict.fromkeys(range(45, 60), 400.0)
    assert same(first(walk(closes), *SEGMENTS), [LN2, LN2, 0, 0.5, 0.5])
    closes[59] = 25.0  # the tail is ln(25/200) = -3 ln 2
    want = [LN2, -3 * LN2, -4 * LN2, 0.75, 1.5]
    assert same(first(walk(closes), *SEGMENTS), want)


def test_the_signed_share_has_a_noise_floor() -> None:
    closes = dict.fromkeys(range(45), 200.0) | dict.fromkeys(range(45, 60), 100.0)
    assert same(first(walk(closes), *SEGMENTS), [LN2, -LN2, -2 * LN2, 0.5, None])
    closes[59] = 100 * exp(2e-4)
    got = first(walk(closes), "seg_tail_share_signed")
    assert got == [pytest.approx((2e-4 - LN2) / 2e-4, rel=1e-9)]


@pytest.mark.parametrize(
    ("last_head", "last_tail", "known"),
    [(40, 55, True), (39, 55, False), (40, 54, False), (44, 59, True)],
)
def test_head_and_tail_need_their_ends(last_head: int, last_tail: int, known: bool) -> None:
    minutes = [*range(last_head + 1), *range(45, last_tail + 1)]
    klines = flat(minutes)
    got = first(klines, "seg_head_logret", "qrs_beta_close_per_hour")
    assert same(got, [0 if known else None, 0])


@pytest.mark.parametrize(("n", "known"), [(44, False), (45, True), (1, False)])
def test_45_minutes_are_needed(n: int, known: bool) -> None:
    klines = flat([*range(n - 1), 59])
    frame = momentum(klines)
    values = frame[["seg_head_logret", "vol_top20_frac", "amihud_abs", "qrs_beta_low_per_hour"]]
    assert values.notna().to_numpy().all() == known
    assert known or frame.drop(columns=["symbol", "hour_ts"]).isna().to_numpy().all()


def test_a_broken_minute_is_no_minute() -> None:
    klines = walk({m: 100.0 + m for m in range(45)})
    klines[44] |= {"low": klines[44]["high"] + 1}
    assert same(first(klines, "vol_top20_frac"), [None])


def test_constant_price() -> None:
    names = ["seg_head_logret", "seg_tail_minus_head", "seg_tail_share", "seg_tail_share_signed"]
    assert same(first(flat(range(60)), *names), [0, 0, None, None])
    names = ["qrs_beta_close_per_hour", "qrs_r2_close", "qrs_close", "qrs_hl_beta", "qrs_hl_r2"]
    assert first(flat(range(60), 0.1), names[0]) == [0.0]
    assert same(first(flat(range(60), 0.1), *names), [0, None, None, None, None])
    assert same(first(flat(range(60)), "amihud_signed", "amihud_abs"), [0, 0])


def test_no_volume() -> None:
    klines = walk({m: 100.0 + m for m in range(60)}, v=0.0)
    names = ["vol_top20_logret_sum", "vol_top20_frac", "amihud_signed", "amihud_abs"]
    assert same(first(klines, *names, "vol_top20_minute_frac"), [None] * 4 + [1])


def test_heavy_minutes_of_60() -> None:
    # K = 12: minutes 0..10 carry 9 each and double once (minute 3); 49 others carry 1 each, the
    # earliest of them (11) joins and quarters the price, minute 30 doubles it unseen
    closes = dict.fromkeys(range(60), 100.0)
    closes |= dict.fromkeys(range(3, 11), 200.0) | dict.fromkeys(range(11, 30), 50.0)
    klines = walk(closes)
    for m in range(60):
        klines[m] |= {"quote_volume": 9.0 if m < 11 else 1.0, "volume": 9.0 if m < 11 else 1.0}
    got = first(klines, "vol_top20_logret_sum", "vol_top20_frac", "vol_top20_minute_frac")
    # rank 4*59/5 = 47.2 of the sorted volumes is 1, so all 60 minutes reach the threshold
    assert same(got, [LN2 - 2 * LN2, 100 / 148, 1])


def test_heavy_minutes_round_up() -> None:
    # 46 minutes: K = 10; volumes 1..46, the top 10 are 37..46, their sum is 415 of 1081
    klines = flat(range(46))
    for m, row in enumerate(klines):
        row |= {"quote_volume": m + 1.0, "volume": m + 1.0}
    # the quantile stands at rank 4*45/5 = 36, the value 37: ten of 46 minutes reach it
    got = first(klines, "vol_top20_frac", "vol_top20_minute_frac")
    assert same(got, [415 / 1081, 10 / 46])


def test_price_per_dollar_skips_minutes_without_money() -> None:
    closes = dict.fromkeys(range(60), 100.0)
    closes |= {10: 200.0, 20: 400.0, 21: 400.0, 22: 400.0}
    klines = walk(closes, v=4.0)  # +ln2 at 10, -ln2 at 11, +2ln2 at 20, -2ln2 at 23
    klines[20] |= {"quote_volume": 0.0}
    klines[23] |= {"quote_volume": 8.0}
    want = [1e6 * (LN2 / 4 - LN2 / 4 - 2 * LN2 / 8), 1e6 * (LN2 / 4 + LN2 / 4 + 2 * LN2 / 8)]
    assert same(first(klines, "amihud_signed", "amihud_abs"), want)


def test_the_first_minute_moves_from_its_open_and_a_hole_is_bridged() -> None:
    # the hour starts at minute 5 with 100 to 200 and 200 to 400 over the hole 10..14
    closes = dict.fromkeys([*range(5, 10)], 200.0) | dict.fromkeys(range(15, 60), 400.0)
    klines = walk(closes)
    klines[5] |= {"open": 400.0, "high": 400.0, "low": 400.0}  # its own open says nothing
    assert same(first(klines, "amihud_abs"), [1e6 * 2 * LN2])
    assert same(first(klines, "seg_head_logret"), [2 * LN2])


def test_a_missing_quote_volume_is_the_typical_price_times_volume() -> None:
    closes = dict.fromkeys(range(60), 200.0)
    klines = walk(closes, v=2.0)
    klines[0] |= {"quote_volume": np.nan}  # o 100, h 200, l 100, c 200: 2 * 500/3
    assert same(first(klines, "amihud_signed"), [1e6 * LN2 * 3 / 1000])


def test_a_straight_trend_with_holes() -> None:
    # ln c = 0.001 m at the true minute index; every fifth minute is missing (48 stay)
    closes = {m: 100 * exp(0.001 * m) for m in range(60) if m % 5}
    klines = walk(closes)
    names = ["qrs_beta_close_per_hour", "qrs_r2_close", "qrs_close"]
    assert first(klines, *names) == pytest.approx([0.06, 1, 0.06], rel=1e-10)


def test_slope_and_r2_of_a_step() -> None:
    # ln c is 0 for 30 minutes, then 1: sxx = 17995, sxy = 30 * 15 = 450, syy = 15
    step = {m: 1.0 if m < 30 else exp(1) for m in range(60)}
    beta, r2 = 60 * 450 / 17995, 450**2 / (17995 * 15)
    names = ["qrs_beta_close_per_hour", "qrs_r2_close", "qrs_close"]
    assert same(first(walk(step, 1.0), *names), [beta, r2, beta * r2])


def test_a_60_percent_minute_is_data() -> None:
    closes = {m: 100.0 if m < 50 else 160.0 for m in range(60)}
    got = first(walk(closes), "seg_tail_logret", "seg_tail_share", "amihud_signed")
    assert same(got, [log(1.6), 1, 1e6 * log(1.6)])


def bands(hour: int, slope: float) -> list[dict[str, Any]]:
    """Lows alternate between 90 and 91 and the highs with them: h = 100 + slope (l - 90)."""
    return [
        candle(at(hour, m), 95.0, high=100 + slope * (m % 2), low=90.0 + m % 2) for m in range(60)
    ]


def test_tops_per_bottoms() -> None:
    klines = bands(0, 0.5)
    assert same(first(klines, "qrs_hl_beta", "qrs_hl_r2"), [0.5, 1])
    klines[0] |= {"high": 101.5}  # l: 30 x 90, 30 x 91; h: 29 x 100, 101.5, 30 x 100.5
    # means over the two lows: 100.05 and 100.5, so the slope is 0.45; syy = 60 var(h)
    mean = (29 * 100 + 101.5 + 30 * 100.5) / 60
    syy = 29 * (100 - mean) ** 2 + (101.5 - mean) ** 2 + 30 * (100.5 - mean) ** 2
    assert first(klines, "qrs_hl_beta", "qrs_hl_r2") == pytest.approx([0.45, 0.45**2 * 15 / syy])


@pytest.mark.parametrize("side", ["high", "low"])
def test_a_constant_side_has_no_support_slope(side: str) -> None:
    klines = [row | {side: {"high": 105.0, "low": 85.0}[side]} for row in bands(0, 1)]
    assert same(first(klines, "qrs_hl_beta", "qrs_hl_r2"), [None, None])


def test_support_against_600_rows_before() -> None:
    slopes = [1.0 if h % 2 else 2.0 for h in range(451)] + [4.0]
    klines = [row for h, slope in enumerate(slopes) for row in bands(h, slope)]
    frame = momentum(klines, 452)
    assert frame["qrs_hl_z"].iloc[:450].isna().all()
    # row 450 (slope 2): 225 ones and 225 twos before; mean 1.5, sample variance 450/4/449
    z = 0.5 / (112.5 / 449) ** 0.5
    got = frame.loc[450, ["qrs_hl_z", "qrs_hl", "qrs_hl_rskew"]].tolist()
    assert got == pytest.approx([z, z, 2 * z], rel=1e-9)


def test_a_support_that_never_changed_has_no_z() -> None:
    klines = [row for h in range(452) for row in bands(h, 1.0)]
    assert momentum(klines, 452)["qrs_hl_z"].isna().all()


def test_the_baseline_is_600_rows_long() -> None:
    x = np.array([100.0] + [1.0, 2.0] * 300 + [4.0])
    z = baseline_z(x)
    # row 600 still sees the 100, row 601 sees 300 ones and 300 twos: sample variance 150/599
    assert z[601] == pytest.approx(2.5 / (150 / 599) ** 0.5, rel=1e-12)
    before = np.array([100.0] + [1.0, 2.0] * 299 + [1.0])
    assert z[600] == pytest.approx((2 - before.mean()) / before.std(ddof=1), rel=1e-12)
    x[5:155] = np.nan  # 450 known rows are enough, 449 are not
    assert not np.isnan(baseline_z(x)[601])
    x[155] = np.nan
    assert np.isnan(baseline_z(x)[601])


def us_open(start: pd.Timestamp, o: float = 100.0, c: float = 200.0) -> list[dict[str, Any]]:
    """The first minute of New York's session and the one that ends an hour after it."""
    end = start + pd.Timedelta(minutes=59)
    return [candle(start, o), candle(end, c, open=o, low=min(o, c), high=max(o, c))]


RAW, LAST = "seg_us_open_60m_logret", "seg_us_open_60m_logret_last"


def test_us_open_in_winter_and_summer() -> None:
    # Monday 1 January 2024: 09:30 NY is 14:30 UTC, so the row is 15:00
    frame = momentum([candle(at(0)), *us_open(at(14, 30))], 48)
    assert frame[RAW].notna().to_numpy().nonzero()[0].tolist() == [15]
    assert frame[RAW].iloc[15] == pytest.approx(LN2)
    assert frame[LAST].notna().to_numpy().nonzero()[0].tolist() == list(range(15, 39))
    # Monday 10 June 2024: 13:30 UTC, so the row is 14:00
    june = pd.Timestamp("2024-06-10")
    klines = us_open(june + pd.Timedelta(hours=13, minutes=30))
    frame = build(tables(klines), families="D")["D"]
    assert frame[RAW].isna().all()  # 14:29 does not close hour 14
    klines.append(candle(june + pd.Timedelta(hours=14, minutes=59)))
    frame = build(tables(klines), families="D")["D"]
    assert column(frame, "hour_ts") == [june + pd.Timedelta(hours=h) for h in (13, 14)]
    assert same(column(frame, RAW), [None, LN2])


def test_us_open_not_on_weekends_or_holidays() -> None:
    klines = [row for day in range(7) for row in us_open(at(24 * day + 14, 30))]
    known = momentum(klines, 24 * 7)[RAW].notna()
    assert known.sum() == 5  # Monday to Friday
    holidays = [{"holiday": at(24).date()}]
    frame = momentum(klines, 24 * 7, us_market_holidays=holidays)
    assert frame[RAW].notna().sum() == 4
    tuesday = frame.loc[frame["hour_ts"] == at(24 + 15)]
    assert tuesday[[RAW, LAST]].isna().to_numpy().all()


@pytest.mark.parametrize("lost", [0, 1])
def test_us_open_needs_both_minutes(lost: int) -> None:
    klines = us_open(at(14, 30))
    klines[lost] |= {"low": -1.0}
    more = [candle(at(h, 0)) for h in (13, 14, 15)]
    assert momentum([*more, *klines], 16)[RAW].isna().all()


def test_us_open_not_across_segments() -> None:
    klines = [candle(at(13)), *us_open(at(14, 30)), candle(at(16))]
    splits = [{"symbol": "AAA", "split_ts": at(15)}]
    frame = momentum(klines, 17, listing_splits=splits)
    assert frame[[RAW, LAST]].isna().to_numpy().all()
    splits = [{"symbol": "AAA", "split_ts": at(16)}]
    frame = momentum(klines, 17, listing_splits=splits)
    assert same(column(frame, RAW), [None, None, LN2, None])
    assert same(column(frame, LAST), [None, None, LN2, None])


def test_flat_candles_before_the_listing_do_not_open_new_york() -> None:
    klines = us_open(at(14, 30))
    klines[0] = dead(at(14, 30))
    assert momentum(klines, 16)[RAW].isna().all()


def test_an_hour_without_minutes_is_null_and_a_gap_breaks_nothing() -> None:
    klines = [
        row | {"open_time": row["open_time"] + pd.Timedelta(hours=h)}
        for h in (0, 4)
        for row in flat(range(60))
    ]
    hourly = [candle(at(2))]
    frame = momentum(klines, 5, klines_1h=hourly)
    assert same(column(frame, "seg_head_logret"), [0, None, None, None, 0])


def test_family_d_reads_its_own_minutes() -> None:
    inputs: Tables = tables(walk({m: 100.0 + m for m in range(60)}))
    rows = build(inputs, 1)["T"]
    pd.testing.assert_frame_equal(family_d(inputs, rows), build(inputs, 1, families="D")["D"])
