"""Family N against bars worked out by hand."""

from __future__ import annotations

from math import log, sqrt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from .common import KEYS, Floats
from .signals import N_COLUMNS, SETUP_COLUMNS, confirmations, family_n, supertrend
from .test_reference import at, same

Rows = list[dict[str, Any]]
REST = [name for name in N_COLUMNS if name not in SETUP_COLUMNS]
SIGNALS = ["sig_reversal_long", "sig_squeeze_long", "sig_reversal_short", "sig_flush_short"]


def bar(hour: int, close: float = 100.0, **over: Any) -> dict[str, Any]:
    """An hour of one price; a dollar is bought, another one sold, and the feed has nothing."""
    row: dict[str, Any] = {
        "symbol": "AAA",
        "hour_ts": at(hour),
        "has_bar": 1,
        "listing_segment": 1,
        "open": close,
        "quote_volume": 2.0,
        "taker_buy_quote_volume": 1.0,
        "long_liq_volume": 0.0,
        "short_liq_volume": 0.0,
        "liq_feed_ok": 1,
    } | over
    prices = (row["open"], close)
    return {"high": max(prices), "low": min(prices), "close": close} | row


def no_bar(hour: int, **over: Any) -> dict[str, Any]:
    names = ["open", "high", "low", "close", "quote_volume", "taker_buy_quote_volume"]
    return bar(hour) | {"has_bar": 0} | dict.fromkeys(names) | over


def unfed(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"long_liq_volume": None, "short_liq_volume": None, "liq_feed_ok": 0}


def signals(rows: Rows, **more: Any) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    feed = frame[[*KEYS, "long_liq_volume", "short_liq_volume", "liq_feed_ok"]]
    return family_n(frame, feed, **more)


def known(x: pd.Series[Any]) -> list[int]:
    return np.flatnonzero(x.notna()).tolist()


def walk(size: int, seed: int = 1) -> tuple[Floats, Floats, Floats]:
    """High, low and close of a random walk of the logarithm."""
    noise = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(noise.normal(0, 0.01, size)))
    first = np.concatenate([[100.0], close[:-1]])
    wick = 1 + np.abs(noise.normal(0, 0.003, (2, size)))
    return np.maximum(first, close) * wick[0], np.minimum(first, close) / wick[1], close


# --- supertrend -----------------------------------------------------------------------------


def test_supertrend_by_hand() -> None:
    bars = [
        (12, 8, 10),  # range 4
        (12, 10, 11),  # 2: the mean of both is 3
        (14, 12, 13),  # 3, from the close before
        (16, 14, 15),
        (18, 16, 18),
        (13, 11, 11),  # 7, down through the lower band
        (13, 11, 12),
        (15.5, 13.5, 15.5),  # as high as the upper band is not above it
        (17, 15, 16),
    ]
    high, low, close = np.array(bars, dtype="float64").T
    got = supertrend(high, low, close, n=2, k=1.0)
    assert same(got["atr"].tolist(), [None, 3, 3, 3, 3, 5, 3.5, 3.5, 2.75])
    # the upper band stays at 14 until a close is above it
    assert same(got["upper"].tolist(), [None, 14, 14, 14, 20, 17, 15.5, 15.5, 15.5])
    # the lower band stays at 14 in the fall, and is free after a close below it
    assert same(got["lower"].tolist(), [None, 8, 10, 12, 14, 14, 8.5, 11, 13.25])
    assert same(got["dir"].tolist(), [None, 1, 1, 1, 1, -1, -1, -1, 1])


def test_supertrend_begins_on_the_side_of_its_close() -> None:
    high, low = np.full(3, 12.0), np.full(3, 8.0)
    for close, direction in ((10.0, 1), (9.0, -1)):
        got = supertrend(high, low, np.full(3, close), n=3)
        assert same(got["dir"].tolist(), [None, None, direction])
        assert same(got["atr"].tolist(), [None, None, 4])
    assert supertrend(high, low, low).isna().to_numpy().all()


def test_supertrend_forgets_where_it_began() -> None:
    high, low, close = walk(1500)
    whole = supertrend(high, low, close)
    assert (whole["dir"].diff().abs() == 2).sum() > 20
    for start in range(3, 1200, 57):
        part = supertrend(high[start:], low[start:], close[start:])
        later, own = whole.iloc[start + 200 :], part.iloc[200:]
        assert later["dir"].tolist() == own["dir"].tolist()
        # the mean range keeps 0.9 of its first error per bar
        assert np.allclose(later, own, rtol=1e-7, atol=0)


# --- legs -----------------------------------------------------------------------------------


def legs(direction: list[int], flush: list[int], squeeze: list[int], **more: Any) -> pd.DataFrame:
    size = len(direction)
    setups = pd.DataFrame(0.0, index=range(size), columns=["long_flush", "short_squeeze"])
    setups.loc[flush, "long_flush"] = 1
    setups.loc[squeeze, "short_squeeze"] = 1
    return confirmations(np.array(direction, dtype="float64"), setups, **more)


def test_flips_and_ages() -> None:
    got = legs([1, 1, -1, -1, -1, 1, 1], [0, 3], [5])
    assert same(got["st_flip"].tolist(), [0, 0, -1, 0, 0, 1, 0])
    assert same(got["st_bars_since_flip"].tolist(), [None, None, 0, 1, 2, 0, 1])
    # the flip begins a leg without setups; its own one belongs to the ended leg
    assert same(got["bars_since_long_flush"].tolist(), [0, 1, None, 0, 1, None, None])
    assert got["bars_since_short_squeeze"].isna().all()
    assert got["sig_flush_short"].tolist() == [0, 0, 1, 0, 0, 0, 0]
    assert got["sig_reversal_short"].tolist() == [0] * 7
    assert got["sig_reversal_long"].tolist() == [0, 0, 0, 0, 0, 1, 0]
    assert got["sig_squeeze_long"].tolist() == [0, 0, 0, 0, 0, 1, 0]
    assert got["n_signal"].tolist() == [0, 0, -1, 0, 0, 1, 0]
    assert same(got["n_bars_to_confirm"].tolist(), [None, None, 2, None, None, 0, None])


@pytest.mark.parametrize(("setup", "fits"), [(1, 0), (2, 1), (10, 1), (11, 0)])
def test_a_setup_waits_eight_bars_for_its_flip(setup: int, fits: int) -> None:
    got = legs([-1] * 10 + [1] * 3, [setup], []).iloc[10]
    assert got["sig_reversal_long"] == got["n_signal"] == fits
    assert same([got["n_bars_to_confirm"]], [10 - setup if fits else None])
    later = legs([-1] * 10 + [1] * 3, [setup], [], timeout_bars=9).iloc[10]
    assert later["n_signal"] == (setup <= 10)


def test_the_younger_of_two_setups_confirms() -> None:
    got = legs([1] * 20 + [-1] * 2, [5, 18], [13]).iloc[20]
    assert got[SIGNALS].tolist() == [0, 0, 1, 1]
    assert got["n_signal"] == -1
    assert got["n_bars_to_confirm"] == 2


def test_a_setup_serves_one_flip() -> None:
    got = legs([1, 1, -1, 1], [1], [])
    assert got["sig_flush_short"].tolist() == [0, 0, 1, 0]
    assert got["sig_reversal_long"].tolist() == [0, 0, 0, 0]
    assert got["n_signal"].tolist() == [0, 0, -1, 0]


# --- setups ---------------------------------------------------------------------------------


def forced(values: list[Any], **more: Any) -> pd.DataFrame:
    """Setups by liquidated longs; the hours without a value have no feed."""
    rows = [unfed(bar(h)) if x is None else bar(h, long_liq_volume=x) for h, x in enumerate(values)]
    return signals(rows, **more)


def flush(frame: pd.DataFrame, row: int = -1) -> list[Any]:
    return frame[["setup_long_flush", "setup_long_flush_strength"]].iloc[row].tolist()


def test_columns_order_and_index() -> None:
    assert len(N_COLUMNS) == len(set(N_COLUMNS)) == 21
    rows = [bar(h, 100.0 + h % 3) for h in range(205)]
    both = pd.DataFrame([r | {"symbol": "BBB"} for r in rows] + rows)
    mixed = both.sample(frac=1, random_state=1)
    feed = ["long_liq_volume", "short_liq_volume", "liq_feed_ok"]
    got = family_n(mixed, both[[*KEYS, *feed]])
    assert list(got) == KEYS + N_COLUMNS
    assert got.index.equals(mixed.index)
    assert got.sort_index().equals(signals([r | {"symbol": "BBB"} for r in rows] + rows))


def test_no_rows_and_no_feed() -> None:
    rows = pd.DataFrame([bar(h, 100.0 + h) for h in range(201)])
    feed = rows[[*KEYS, "long_liq_volume", "short_liq_volume", "liq_feed_ok"]].iloc[:0]
    assert list(family_n(rows.iloc[:0], feed)) == KEYS + N_COLUMNS
    assert family_n(rows, feed)["st_dir"].iloc[200] == 1


def test_threshold_needs_504_hours_of_the_feed() -> None:
    frame = forced([0.0] * 503 + [5.0, 5.0, 0.0])
    # nothing sold or bought stands out either, so there is no other evidence
    assert known(frame["setup_long_flush"]) == known(frame["setup_source"]) == [504, 505]
    assert frame["setup_source"].iloc[504] == "liq"
    # the 0.99 quantile of 503 zeros and a five is 0, and nothing is a multiple of 0
    assert same(flush(frame, 504), [1, None])
    assert same(flush(frame, 505), [0, None])
    assert frame["setup_short_squeeze"].iloc[504:].tolist() == [0, 0]


def test_setup_is_beyond_the_quantile() -> None:
    values: list[Any] = [float(v) for v in range(601)]  # 0.99 of it is 594
    assert same(flush(forced([*values, 594.0])), [0, None])
    assert same(flush(forced([*values, 891.0])), [1, 1.5])
    assert same(flush(forced([*values, 297.0], setup_q=0.25)), [1, 297 / 150])


def test_hours_without_a_feed_do_not_count() -> None:
    values: list[Any] = [float(v) for v in range(601)]
    assert same(flush(forced([*values, *([None] * 100), 891.0])), [1, 1.5])
    # of 720 rows before the last one only 503 have the feed
    assert same(flush(forced([*values, *([None] * 217), 891.0])), [None, None])
    assert same(flush(forced([*values, *([None] * 216), 891.0])), [1, 891 / 594.97])


def test_a_quantity_without_a_feed_is_none() -> None:
    rows = [bar(h, long_liq_volume=9.0, liq_feed_ok=int(h >= 3)) for h in range(508)]
    got = signals(rows)["setup_long_flush"]
    assert known(got) == [507]


def sold(h: int, amount: float, close: float = 100.0, bought: float = 1.0) -> dict[str, Any]:
    """A falling hour (or as told), of which `amount` is sold by takers; no feed."""
    money = {"quote_volume": amount + bought, "taker_buy_quote_volume": bought}
    return unfed(bar(h, close, open=101.0, **money))


def test_proxy() -> None:
    # 0 and 2 are sold in turn: mean 1, 150 squares
    rows = [sold(h, 2.0 * (h % 2)) for h in range(150)]
    five = 4 / sqrt(150 / 149)
    got = signals([*rows, sold(150, 5.0)])
    assert known(got["setup_long_flush"]) == known(got["setup_source"]) == [150]
    assert same(flush(got), [1, five])
    assert got["setup_source"].iloc[150] == "proxy"
    # what is bought is always the same, so nothing can be said of it
    assert got["setup_short_squeeze"].isna().all()
    assert same(flush(signals([*rows, sold(150, 4.0)])), [0, None])
    assert same(flush(signals([*rows, sold(150, 4.02)])), [1, 3.02 / sqrt(150 / 149)])
    for close in (101.0, 102.0):  # it did not fall
        assert same(flush(signals([*rows, sold(150, 5.0, close)])), [0, None])


def test_proxy_of_a_squeeze() -> None:
    rows = [sold(h, 1.0, 102.0, 2.0 * (h % 2)) for h in range(201)]
    # rows 1 to 200 are the last 200: still 0 and 2 in turn
    got = signals([*rows, sold(201, 1.0, 102.0, 5.0), sold(202, 1.0, 101.0, 50.0)])
    assert known(got["setup_short_squeeze"]) == list(range(150, 203))
    assert got["setup_short_squeeze"].iloc[199:].tolist() == [0, 0, 1, 0]
    strength = got["setup_short_squeeze_strength"]
    assert known(strength) == [201]
    assert strength.iloc[201] == pytest.approx(4 / sqrt(200 / 199), rel=1e-12)
    assert got["setup_long_flush"].isna().all()


def test_proxy_takes_over_in_an_hour_without_the_feed() -> None:
    rows = [bar(h, long_liq_volume=1.0, quote_volume=1.0 + 2 * (h % 2)) for h in range(510)]
    got = signals([*rows, sold(510, 5.0), bar(511, long_liq_volume=2.0)])
    sources = got["setup_source"].fillna("").tolist()
    assert sources == [""] * 150 + ["proxy"] * 354 + ["liq"] * 6 + ["proxy", "liq"]
    assert got["setup_long_flush"].iloc[150:].tolist() == [0] * 360 + [1, 1]
    assert same(flush(got, 510), [1, 4 / sqrt(200 / 199)])
    assert same(flush(got, 511), [1, 2])


def test_an_hour_without_a_bar_has_no_setup_but_counts() -> None:
    rows = [bar(h) for h in range(600)]
    rows += [no_bar(600, long_liq_volume=7.0), bar(601, long_liq_volume=7.0)]
    got = signals(rows)
    assert got.iloc[600].drop(KEYS).isna().all()
    assert same(flush(got, 601), [1, None])
    # seven such hours are 0.99 of 504 rows
    rows = [bar(h) for h in range(504)]
    rows += [no_bar(504 + h, long_liq_volume=7.0) for h in range(7)]
    assert same(flush(signals([*rows, bar(511, long_liq_volume=6.0)])), [0, None])


# --- together -------------------------------------------------------------------------------


def falling(size: int) -> Rows:
    """A slow fall in which 0 and 2 are sold in turn."""
    rows = [sold(h, 2.0 * (h % 2), 1000.0 - h) for h in range(size)]
    return [r | {"open": r["close"] + 1, "high": r["close"] + 1, "low": r["close"]} for r in rows]


def test_capitulation_low() -> None:
    rows = falling(250)
    rows[248] |= {"quote_volume": 8.0}  # 7 are sold
    rows += [bar(250, 790.0, open=751.0), bar(251, 791.0, open=790.0)]
    got = signals(rows)
    # A range of 1 gives bands of 3 around the middle. The upper one follows the price down. The
    # lower one stands until a close is below it, so it is new each fourth bar, and on bar 249.
    last, turn, after = (got.iloc[i] for i in (249, 250, 251))
    assert same(last[["atr_10", "st_dir", "st_flip"]].tolist(), [1, -1, 0])
    assert same(last[["st_upper", "st_lower"]].tolist(), [754.5, 748.5])
    assert last["st_line"] == last["st_upper"]
    assert last["st_dist_logret"] == pytest.approx(log(751 / 754.5))
    assert np.isnan(last["st_bars_since_flip"])
    assert last["bars_since_long_flush"] == 1
    # a range of 39: the lower band rises to 770.5 - 3 * 4.8
    assert same(turn[["atr_10", "st_upper", "st_lower"]].tolist(), [4.8, 754.5, 756.1])
    assert same(turn[["st_dir", "st_flip", "st_bars_since_flip"]].tolist(), [1, 1, 0])
    assert turn["st_line"] == turn["st_lower"]
    assert turn[SIGNALS].tolist() == [1, 0, 0, 0]
    assert turn[["n_signal", "n_bars_to_confirm"]].tolist() == [1, 2]
    assert np.isnan(turn["bars_since_long_flush"])
    assert after[SIGNALS].tolist() == [0, 0, 0, 0]
    assert same(after[["n_signal", "n_bars_to_confirm"]].tolist(), [0, None])
    assert after[["st_flip", "st_bars_since_flip"]].tolist() == [0, 1]
    again = signals(rows, timeout_bars=1).iloc[250]
    assert again["n_signal"] == 0
    assert np.isnan(again["n_bars_to_confirm"])


def test_ages_count_bars() -> None:
    rows = falling(250)
    rows[240] |= {"quote_volume": 8.0}
    turn = bar(260, 790.0, open=751.0)
    empty = [unfed(no_bar(h)) for h in range(250, 260)]
    got = signals([*rows, *empty, turn])
    assert got.iloc[260]["n_signal"] == 0  # ten bars old
    rows[242] |= {"quote_volume": 20.0}
    got = signals([*rows, *empty, turn])
    assert got.iloc[260]["n_bars_to_confirm"] == 8
    assert got.iloc[250:260].drop(columns=KEYS).isna().to_numpy().all()


def priced(size: int) -> Rows:
    high, low, close = walk(size)
    return [
        bar(h, close[h], open=(high[h] + low[h]) / 2) | {"high": high[h], "low": low[h]}
        for h in range(size)
    ]


def test_first_200_bars_are_null_but_remembered() -> None:
    rows = priced(240)
    got = signals(rows)
    trend = supertrend(*walk(240))
    always = [name for name in REST if not name.startswith(("bars_since", "n_bars"))]
    for name in always:
        assert known(got[name]) == list(range(200, 240)), name
    assert got["st_dir"].iloc[200:].tolist() == trend["dir"].iloc[200:].tolist()
    flip = np.flatnonzero(np.diff(trend["dir"].iloc[9:200]))[-1] + 10
    assert got["st_bars_since_flip"].iloc[200] == 200 - flip


def test_a_setup_of_the_warm_up_is_remembered() -> None:
    rows = falling(202)
    rows[190] |= {"quote_volume": 8.0}
    got = signals(rows)
    assert same(flush(got, 190), [1, 6 / sqrt(190 / 189)])
    assert same(got["bars_since_long_flush"].iloc[199:].tolist(), [None, 10, 11])


def test_hours_without_a_bar_are_skipped() -> None:
    rows = priced(240)
    gaps = [r | {"hour_ts": at(h + 30 * (h >= 100))} for h, r in enumerate(rows)]
    gaps[100:100] = [no_bar(100 + h) for h in range(30)]
    whole, holed = signals(rows)[REST], signals(gaps)[REST]
    assert holed.iloc[100:130].isna().to_numpy().all()
    assert holed.drop(index=range(100, 130)).reset_index(drop=True).equals(whole)


def test_nothing_crosses_a_segment() -> None:
    rows = [r | {"long_liq_volume": float(h % 9)} for h, r in enumerate(priced(600))]
    for h in range(300, 600):
        rows[h] |= {"listing_segment": 2}
    got = signals(rows).drop(columns=KEYS)
    moved = [r | {"hour_ts": at(h)} for h, r in enumerate(rows[300:])]
    alone = signals(moved).drop(columns=KEYS)
    assert got.iloc[300:].reset_index(drop=True).equals(alone)
    assert got["setup_source"].isna().all()


def test_a_row_stays_when_later_ones_arrive() -> None:
    noise = np.random.default_rng(2).exponential(size=(2, 700))
    rows = [
        r | {"long_liq_volume": noise[0, h], "taker_buy_quote_volume": noise[1, h]}
        for h, r in enumerate(priced(700))
    ]
    whole = signals(rows, setup_q=0.8)
    pd.testing.assert_frame_equal(whole.iloc[:600], signals(rows[:600], setup_q=0.8))
    assert whole["n_signal"].abs().sum() > 0
