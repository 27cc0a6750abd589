"""Family F, and the two tables it is made from, against tapes worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from . import COLUMNS, build_all, spine, tick_minutes, trade_sizes
from .order_flow import family_f, read_ticks, sound_ticks
from .test_reference import at, candle, column, hours_of, same

NAMES = [
    "at_trade_count",
    "at_base_volume",
    "at_quote_volume",
    "at_vwap",
    "taker_buy_qty",
    "taker_sell_qty",
    "taker_buy_quote",
    "taker_sell_quote",
    "taker_buy_trade_count",
    "taker_sell_trade_count",
    "cvd_qty",
    "cvd_quote",
    "cvd_quote_24h",
    "imbalance_quote",
    "imbalance_ratio_quote",
    "count_imbalance",
    "tw_cvd_quote_norm",
    "tw_cvd_imbalance",
    "avg_trade_quote",
    "avg_trade_base",
    "taker_buy_avg_trade_quote",
    "taker_sell_avg_trade_quote",
    "taker_buy_hhi_quote",
    "taker_sell_hhi_quote",
    "at_price_change",
    "cvd_per_abs_price_change",
    "whale_thr_quote",
    "retail_thr_quote",
    "size_thr_n_trades",
    "whale_thr_q_eff",
    "retail_thr_q_eff",
    "whale_buy_quote",
    "whale_sell_quote",
    "whale_cvd_quote",
    "whale_buy_count",
    "whale_sell_count",
    "whale_share_quote",
    "whale_imbalance",
    "retail_buy_quote",
    "retail_sell_quote",
    "retail_cvd_quote",
    "retail_buy_count",
    "retail_sell_count",
    "retail_share_quote",
    "retail_imbalance",
    "whale50k_cvd_quote",
    "retail1k_cvd_quote",
]
THRESHOLDS = NAMES[26:31]
SIZED = NAMES[31:45]
DAYS = pd.date_range("2024-01-01", periods=8)


def tick(
    i: int, when: pd.Timestamp, price: float, quantity: float, side: str = "B", **over: Any
) -> dict[str, Any]:
    """One aggregated trade of a single raw one; side "B" where the taker bought."""
    return {
        "symbol": "AAA",
        "file": "2024-01",
        "agg_trade_id": i,
        "price": price,
        "quantity": quantity,
        "first_trade_id": i,
        "last_trade_id": i,
        "transact_time": when,
        "is_buyer_maker": side == "S",
    } | over


def tape(ticks: list[dict[str, Any]]) -> pd.DataFrame:
    names = list(tick(1, at(), 1.0, 1.0))
    return read_ticks({"agg_trades": pd.DataFrame(ticks, columns=names)})


def days(*covered: pd.Timestamp, symbol: str = "AAA") -> pd.DataFrame:
    return pd.DataFrame({"symbol": symbol, "day": list(covered)})


def flow(
    ticks: list[dict[str, Any]],
    hours: int = 1,
    covered: Any = DAYS,
    klines: list[dict[str, Any]] | None = None,
    **more: Any,
) -> pd.DataFrame:
    """Family F of `hours` hours, in each of which the candles show a trade."""
    inputs = {
        "klines_1m": pd.DataFrame(klines or hours_of(range(hours))),
        "agg_trades": tape(ticks),
        "tick_days": days(*covered),
    }
    return family_f(inputs, spine(inputs, at(hours)), **more)


def values(frame: pd.DataFrame, *names: str, row: int = 0) -> list[float]:
    return [float(frame[name].iloc[row]) for name in names]


def two_sides() -> list[dict[str, Any]]:
    """Bought 20 + 20 + 60 at minutes 0, 0, 59; sold 33 and 11 at minute 29."""
    return [
        tick(1, at(0, 0), 10, 2, last_trade_id=3),
        tick(2, at(0, 0), 20, 1),
        tick(3, at(0, 29), 11, 3, "S"),
        tick(4, at(0, 29), 11, 1, "S"),
        tick(5, at(0, 59, 59_999), 15, 4),
    ]


def test_names() -> None:
    assert len(NAMES) == 47
    assert COLUMNS["F"] == NAMES


# --- one hour -------------------------------------------------------------------------------


def test_totals_of_an_hour() -> None:
    f = flow(two_sides())
    assert same(values(f, *NAMES[:4]), [5, 11, 144, 144 / 11])
    assert same(values(f, *NAMES[4:10]), [7, 4, 100, 44, 3, 2])
    assert same(values(f, "cvd_qty", "cvd_quote"), [3, 56])
    assert same(values(f, *NAMES[13:16]), [56 / 144, 56 / 144, 1 / 5])
    assert same(values(f, *NAMES[18:22]), [144 / 5, 11 / 5, 100 / 3, 22])
    assert same(values(f, *NAMES[24:26]), [5, 56 / 5])
    assert same(values(f, "cvd_quote_24h"), [None])


def test_sellers_win() -> None:
    ticks = [t | {"is_buyer_maker": not t["is_buyer_maker"]} for t in two_sides()]
    f = flow(ticks)
    want = [-56 / 144, 56 / 144, -1 / 5]
    assert same(values(f, *NAMES[13:16]), want)
    falling = [t | {"price": 30 - t["price"]} for t in two_sides()[::4]]  # 20, then 15
    assert same(values(flow(falling), *NAMES[24:26]), [-5, (40 + 60) / 5])


def test_concentration_by_side() -> None:
    f = flow(two_sides())
    want = [(20**2 + 20**2 + 60**2) / 100**2, (33**2 + 11**2) / 44**2]
    assert same(values(f, "taker_buy_hhi_quote", "taker_sell_hhi_quote"), want)
    assert same(values(flow(two_sides()[:1]), *NAMES[22:24]), [1, None])


def test_late_minutes_weigh_more() -> None:
    f = flow(two_sides())
    late = 1 * 40 - 30 * 44 + 60 * 60
    want = [late / 1830, late / (1 * 40 + 30 * 44 + 60 * 60)]
    assert same(values(f, "tw_cvd_quote_norm", "tw_cvd_imbalance"), want)


def test_one_side_only() -> None:
    f = flow(two_sides()[2:4])
    assert same(values(f, "taker_buy_quote", "taker_buy_avg_trade_quote"), [0, None])
    assert same(values(f, "imbalance_quote", "count_imbalance", "tw_cvd_imbalance"), [-1] * 3)
    assert same(values(f, *NAMES[24:26]), [0, None])


def test_the_first_price_is_that_of_the_lowest_id() -> None:
    ticks = two_sides()
    ticks[0] |= {"transact_time": at(0, 0, 900)}  # later than the second one
    assert same(values(flow(ticks[::-1]), "at_price_change"), [5])


def test_fixed_cut_offs_follow_the_bins() -> None:
    ticks = [
        tick(1, at(), 1, 10**4.7),
        tick(2, at(), 1, 50_118, "S"),  # just below the edge at 50,118.7
        tick(3, at(), 1, 1000, "B"),
        tick(4, at(), 1, 999, "S"),
    ]
    want = [10**4.7, -999]
    assert same(values(flow(ticks), "whale50k_cvd_quote", "retail1k_cvd_quote"), want)


# --- which hours ----------------------------------------------------------------------------


def test_an_uncovered_hour_is_null() -> None:
    for f in (flow([], covered=[]), flow(two_sides(), covered=DAYS[1:])):
        assert f[[n for n in NAMES if n != "size_thr_n_trades"]].isna().to_numpy().all()
        assert same(values(f, "size_thr_n_trades"), [0])


def test_no_tape_at_all() -> None:
    f = build_all({"klines_1m": pd.DataFrame(hours_of([0]))}, at(1), families="F")["F"]
    assert f[NAMES].notna().to_numpy().sum() == 1
    assert same(column(f, "size_thr_n_trades"), [0])


def test_coverage_belongs_to_a_symbol() -> None:
    both = hours_of([0]) + hours_of([0], symbol="BBB")
    f = flow(two_sides(), klines=both)
    assert same(column(f, "at_trade_count"), [5])
    assert same(column(f, "at_trade_count", "BBB"), [None])


def test_a_covered_silent_hour_is_zero() -> None:
    f = flow(two_sides(), 2)
    zero = {*NAMES[:3], *NAMES[4:12], "tw_cvd_quote_norm", "whale50k_cvd_quote"}
    zero |= {"retail1k_cvd_quote", "size_thr_n_trades"}
    for name in NAMES:
        assert same(values(f, name, row=1), [0 if name in zero else None]), name


def test_hours_end_at_their_last_microsecond() -> None:
    end = at(1) - pd.Timedelta(microseconds=1)
    f = flow([tick(1, at(), 1, 1), tick(2, end, 1, 2), tick(3, at(1), 1, 4)], 2)
    assert same(column(f, "at_base_volume"), [3, 4])


# --- the day's sum --------------------------------------------------------------------------


def hourly(hours: range, start_id: int = 1) -> list[dict[str, Any]]:
    """In hour h one buyer of h + 1 USDT."""
    return [tick(start_id + h, at(h), 1, h + 1) for h in hours]


def test_the_days_sum_needs_18_covered_hours() -> None:
    f = flow(hourly(range(26)), 26)
    got = column(f, "cvd_quote_24h")
    assert same(got[16:18], [None, 18 * 19 / 2])
    assert same(got[23:], [300, sum(range(2, 26)), sum(range(3, 27))])


def test_the_days_sum_spans_uncovered_hours() -> None:
    f = flow(hourly(range(50)), 50, covered=DAYS[:1])
    got = column(f, "cvd_quote_24h")
    assert same(got[23:31], [sum(range(k, 25)) for k in range(1, 8)] + [None])
    assert same(column(f, "cvd_quote")[24:], [None] * 26)


def test_the_days_sum_ends_with_its_listing() -> None:
    klines = hours_of([*range(20), 200, *range(201, 220)])
    f = flow(
        hourly(range(220)), 220, covered=pd.date_range("2024-01-01", periods=10), klines=klines
    )
    got = dict(zip(f["hour_ts"], f["cvd_quote_24h"], strict=True))
    assert got[at(19)] == sum(range(1, 21))
    assert np.isnan(got[at(216)])
    assert got[at(217)] == sum(range(201, 219))


# --- thresholds -----------------------------------------------------------------------------


def crowd(
    day: int, counts: dict[float, int], start_id: int = 1, hour: float = 12, **over: Any
) -> list[dict[str, Any]]:
    """Trades of the given sizes on a day (0 is the first), sides alternating."""
    sizes = [size for size, n in counts.items() for _ in range(n)]
    return [
        tick(start_id + i, at(24 * day + hour), 1, size, "BS"[i % 2], **over)
        for i, size in enumerate(sizes)
    ]


def history(by_day: dict[int, dict[float, int]]) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for day, counts in by_day.items():
        out += crowd(day, counts, start_id=len(out) + 1)
    return out


def on_day_7(past: list[dict[str, Any]], now: list[dict[str, Any]], **more: Any) -> pd.DataFrame:
    """The row of day 7, 00:00."""
    return flow(past + now, 24 * 8, **more).iloc[[24 * 7]]


MIXED = {15.0: 300, 150.0: 190, 1500.0: 10}  # 60 %, 38 %, 2 %


def test_thresholds_are_upper_edges_of_bins() -> None:
    f = on_day_7(history(dict.fromkeys(range(4), MIXED)), [])
    # 15 lies in bin 11 (12.6 … 15.8), 1500 in bin 31 (1259 … 1585)
    want = [10**3.2, 10**1.2, 2000, 1.0, 0.6]
    assert same(values(f, *THRESHOLDS), want)


def test_a_share_that_is_reached_exactly_is_reached() -> None:
    past = history(dict.fromkeys(range(4), MIXED))
    f = on_day_7(past, [], whale_q=0.98, retail_q=0.6)
    assert same(values(f, *THRESHOLDS), [10**2.2, 10**1.2, 2000, 0.98, 0.6])
    f = on_day_7(past, [], whale_q=0.981, retail_q=0.601)
    assert same(values(f, *THRESHOLDS), [10**3.2, 10**2.2, 2000, 1.0, 0.98])


def test_big_and_small_money() -> None:
    when = at(24 * 7, 5)
    now = [
        tick(9001, when, 1, 10**3.2),  # on the edge: a whale
        tick(9002, when, 1, 1580, "S"),  # in the bin below it
        tick(9003, when, 2, 4000, "S"),
        tick(9004, when, 1, 10**1.2),  # on the edge: not small
        tick(9005, when, 1, 15),
        tick(9006, when, 1, 5, "S"),
        tick(9007, when, 1, 0.5, "S"),
    ]
    f = on_day_7(history(dict.fromkeys(range(4), MIXED)), now)
    total = 10**3.2 + 1580 + 8000 + 10**1.2 + 15 + 5.5
    big, small = 10**3.2 + 8000, 20.5
    whale = [10**3.2, 8000, 10**3.2 - 8000, 1, 1, big / total, (10**3.2 - 8000) / big]
    retail = [15, 5.5, 9.5, 1, 2, small / total, 9.5 / small]
    assert same(values(f, *SIZED), whale + retail)


def test_no_whale_today() -> None:
    f = on_day_7(history(dict.fromkeys(range(4), MIXED)), [tick(9001, at(24 * 7), 1, 100)])
    assert same(values(f, *SIZED), [0, 0, 0, 0, 0, 0, None] * 2)
    f = on_day_7(history(dict.fromkeys(range(4), MIXED)), [])
    assert same(values(f, *SIZED), [0, 0, 0, 0, 0, None, None] * 2)


@pytest.mark.parametrize(
    ("past", "n", "known"),
    [
        ({d: {15.0: 500} for d in range(4)}, 2000, True),
        ({0: {15.0: 499}} | {d: {15.0: 500} for d in range(1, 4)}, 1999, False),
        ({d: {15.0: 1000} for d in range(3)}, 3000, False),
        ({0: {15.0: 1997}} | {d: {15.0: 1} for d in (2, 4, 6)}, 2000, True),
        ({d: {15.0: 500} for d in range(4, 8)}, 1500, False),  # the day itself does not count
        ({}, 0, False),
    ],
)
def test_what_thresholds_need(past: dict[int, Any], n: int, known: bool) -> None:
    f = on_day_7(history(past), [])
    assert same(values(f, "size_thr_n_trades"), [n])
    rest = f[[*THRESHOLDS, *SIZED[:5]]].drop(columns="size_thr_n_trades")
    assert rest.notna().to_numpy().all() == known
    assert known or f[SIZED].isna().to_numpy().all()
    assert f["at_trade_count"].notna().all()


def test_thresholds_hold_for_a_day_and_forget_after_seven() -> None:
    f = flow(history({d: {15.0: 500} for d in range(4)}), 24 * 9)
    n = column(f, "size_thr_n_trades")
    assert [set(n[24 * d : 24 * d + 24]) for d in range(9)] == [
        {500 * min(d, 4)} if d < 8 else {1500} for d in range(9)
    ]
    assert same(column(f, "whale_thr_quote")[24 * 4 - 1 : 24 * 4 + 1], [None, 10**1.2])
    assert same(column(f, "whale_thr_quote")[24 * 8 - 1 : 24 * 8 + 1], [10**1.2, None])


def test_the_window_is_a_parameter() -> None:
    past = history({d: {15.0: 500} for d in range(7)})
    assert same(values(on_day_7(past, [], window_days=5), "size_thr_n_trades"), [2500])


def test_thresholds_stand_in_uncovered_hours() -> None:
    f = on_day_7(history(dict.fromkeys(range(4), MIXED)), [], covered=DAYS[:4])
    assert same(values(f, *THRESHOLDS), [10**3.2, 10**1.2, 2000, 1.0, 0.6])
    assert f[[n for n in NAMES if n not in THRESHOLDS]].isna().to_numpy().all()


def test_the_clipped_ends() -> None:
    past = history({d: {1e9: 250, 0.01: 250} for d in range(4)})
    now = [tick(9001, at(24 * 7), 1, 1e12), tick(9002, at(24 * 7), 1, 1e-7)]
    f = on_day_7(past, now)
    assert same(values(f, *THRESHOLDS), [10**8.1, 1, 2000, 1.0, 0.5])
    assert same(values(f, "whale_buy_count", "retail_buy_count"), [0, 1])


def test_thresholds_do_not_look_into_an_earlier_listing() -> None:
    splits = pd.DataFrame({"symbol": ["AAA"], "split_ts": [at(24 * 4)]})
    inputs = {
        "klines_1m": pd.DataFrame(hours_of(range(24 * 8))),
        "agg_trades": tape(history(dict.fromkeys(range(6), MIXED))),
        "tick_days": days(*DAYS),
        "listing_splits": splits,
    }
    f = family_f(inputs, spine(inputs, at(24 * 8)))
    assert same(values(f, "size_thr_n_trades", row=24 * 4 - 1), [1500])
    assert same(values(f, "size_thr_n_trades", row=24 * 4), [0])
    assert same(values(f, "size_thr_n_trades", row=24 * 7), [1000])


# --- duplicates, bad ticks, order -----------------------------------------------------------


def test_the_first_of_equal_ids_counts() -> None:
    ticks = [tick(1, at(), 10, 1), tick(2, at(), 10, 2), tick(1, at(), 99, 9), tick(2, at(), 10, 2)]
    assert same(values(flow(ticks), *NAMES[:4]), [2, 3, 30, 10])
    sound, bad = sound_ticks(tape(ticks))
    assert sound["price"].tolist() == [10, 10]
    assert bad.empty


def test_ids_begin_anew_in_another_file() -> None:
    again = [tick(1, at(24), 20, 2, file="2024-01-02"), tick(2, at(24), 25, 1, file="2024-01-02")]
    f = flow([tick(1, at(), 10, 1), *again], 25)
    assert same(values(f, *NAMES[:3], row=24), [2, 3, 65])
    assert same(values(f, *NAMES[:3]), [1, 1, 10])
    assert tick_minutes(tape([tick(1, at(), 10, 1), *again]))["n_duplicates"].tolist() == [0, 0]


def test_equal_ids_of_two_symbols_are_two_trades() -> None:
    minutes = tick_minutes(tape([tick(1, at(), 10, 1), tick(1, at(), 20, 1, symbol="BBB")]))
    assert minutes["price_first"].tolist() == [10, 20]


@pytest.mark.parametrize(
    ("price", "quantity"),
    [(0, 1), (-1, 1), (1, 0), (1, -1), (np.nan, 1), (1, np.nan), (np.inf, 1), (1, np.inf)],
)
def test_bad_ticks_are_in_no_sum(price: float, quantity: float) -> None:
    ticks = [tick(1, at(), price, quantity), *[t | {"agg_trade_id": t["agg_trade_id"] + 1}
             for t in two_sides()], tick(9, at(0, 59), price, quantity, "S")]  # fmt: skip
    assert flow(ticks).equals(flow(two_sides()))
    minutes = tick_minutes(tape(ticks))
    assert minutes["n_bad"].tolist() == [1, 0, 1]
    assert minutes["first_agg_trade_id"].tolist() == [1, 4, 6]
    assert minutes["last_agg_trade_id"].tolist() == [3, 5, 9]
    assert minutes["trade_count"].tolist() == [2, 2, 1]


def test_a_bad_first_takes_its_sound_duplicate_along() -> None:
    minutes = tick_minutes(tape([tick(1, at(), 10, 0), tick(1, at(), 10, 5)]))
    assert minutes[["trade_count", "n_bad", "n_duplicates"]].to_numpy().tolist() == [[0, 1, 1]]


# --- the two tables -------------------------------------------------------------------------


def test_a_minute_by_hand() -> None:
    ticks = [
        tick(7, at(0, 1, 500), 12, 1, "S", last_trade_id=8),
        tick(5, at(0, 1, 100), 10, 2, last_trade_id=9),
        tick(6, at(0, 1, 900), 8, 1, "S"),
        tick(5, at(0, 1, 100), 10, 2),
        tick(9, at(0, 1, 950), 0, 1),
    ]
    (row,) = tick_minutes(tape(ticks)).to_dict("records")
    assert row == {
        "symbol": "AAA",
        "minute_ts": at(0, 1),
        "trade_count": 3,
        "raw_trade_count": 5 + 1 + 2,
        "base_volume": 4,
        "quote_volume": 40,
        "buy_qty": 2,
        "sell_qty": 2,
        "buy_quote": 20,
        "sell_quote": 20,
        "buy_count": 1,
        "sell_count": 2,
        "buy_quote_sq": 400,
        "sell_quote_sq": 208,
        "buy_max_quote": 20,
        "sell_max_quote": 12,
        "price_first": 10,
        "price_last": 12,
        "price_high": 12,
        "price_low": 8,
        "first_transact_time": at(0, 1, 100),
        "last_transact_time": at(0, 1, 950),
        "first_agg_trade_id": 5,
        "last_agg_trade_id": 9,
        "n_bad": 1,
        "n_duplicates": 1,
        "n_out_of_order": 3,  # 5, 6 and the second 5 come after 7
    }


def test_a_minute_of_bad_ticks_has_no_prices() -> None:
    (row,) = tick_minutes(tape([tick(1, at(), 0, 1)])).to_dict("records")
    nothing = ("buy_max_quote", "price_first", "price_last", "price_high", "price_low")
    assert all(np.isnan(row[name]) for name in nothing)
    assert row["trade_count"] == row["quote_volume"] == row["sell_quote_sq"] == 0
    assert row["n_bad"] == 1


def test_a_minute_of_dropped_duplicates_has_only_its_counts() -> None:
    minutes = tick_minutes(tape([tick(1, at(), 10, 1), tick(1, at(0, 5), 10, 1)]))
    assert minutes["minute_ts"].tolist() == [at(), at(0, 5)]
    assert minutes["n_duplicates"].tolist() == [0, 1]
    assert minutes["trade_count"].tolist() == [1, 0]
    ends = ["first_agg_trade_id", "last_agg_trade_id", "first_transact_time", "last_transact_time"]
    assert minutes[ends].isna().to_numpy().tolist() == [[False] * 4, [True] * 4]


def test_times_are_those_of_the_outer_ids() -> None:
    (row,) = tick_minutes(tape([tick(2, at(ms=5), 1, 1), tick(1, at(ms=9), 1, 1)])).to_dict(
        "records"
    )
    assert (row["first_transact_time"], row["last_transact_time"]) == (at(ms=9), at(ms=5))


def test_an_equal_id_in_a_row_is_not_out_of_order() -> None:
    (row,) = tick_minutes(tape([tick(1, at(), 1, 1), tick(1, at(), 1, 1)])).to_dict("records")
    assert (row["n_duplicates"], row["n_out_of_order"]) == (1, 0)


@pytest.mark.parametrize(
    ("quote", "size"),
    [(0.5, -1), (1e-9, -1), (1, 0), (1.2, 0), (10, 10), (999.9, 29), (1000, 30), (1e8, 80),
     (1000 * (1 - 1e-12), 30), (1000 * (1 - 1e-8), 29),
     (1e12, 80), (9.9e7, 79), *((10 ** (k / 10), k) for k in range(81))],
)  # fmt: skip
def test_bins(quote: float, size: int) -> None:
    (row,) = trade_sizes(tape([tick(1, at(), quote, 1)])).to_dict("records")
    assert row["bin"] == [size]


def test_sizes_by_hand() -> None:
    ticks = [
        tick(1, at(0, 59), 10, 1, "S"),
        tick(2, at(0, 1), 1000, 1, "S"),
        tick(3, at(0, 1), 11, 1, "S"),
        tick(4, at(0, 1), 5, 1),
        tick(5, at(1, 1), 5, 1),
        tick(6, at(2), 5, 0),
    ]
    records = trade_sizes(tape(ticks)).to_dict("records")
    assert [list(r.values()) for r in records] == [
        ["AAA", at(), "B", [6], [1], [5]],
        ["AAA", at(), "S", [10, 30], [2, 1], [21, 1000]],
        ["AAA", at(1), "B", [6], [1], [5]],
    ]


def test_nothing_makes_empty_tables() -> None:
    assert tick_minutes(tape([])).empty
    assert trade_sizes(tape([])).empty


def test_the_tables_tell_the_same_story() -> None:
    rng = np.random.default_rng(5)
    ticks = tape(
        [
            tick(int(i), at(minutes=float(rng.integers(300))), rng.uniform(1, 9),
                 float(10 ** rng.uniform(-3, 6)), "BS"[int(rng.integers(2))])
            for i in rng.permutation(500)
        ]
    )  # fmt: skip
    minutes, sizes = tick_minutes(ticks), trade_sizes(ticks)
    hour = minutes["minute_ts"].dt.floor("h")
    quote = minutes.groupby(hour)["quote_volume"].sum().tolist()
    assert sizes["quote"].map(sum).groupby(sizes["hour_ts"]).sum().tolist() == pytest.approx(quote)
    assert sizes["n"].map(sum).sum() == minutes["trade_count"].sum() == 500
    klines = [candle(at(h)) for h in range(5)]
    inputs = {"klines_1m": pd.DataFrame(klines), "agg_trades": ticks, "tick_days": days(at())}
    f = build_all(inputs, at(5), families="F")["F"]
    assert column(f, "at_quote_volume") == pytest.approx(quote)
