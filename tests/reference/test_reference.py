"""The reference against cases worked out by hand, and `compare` against planted mistakes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from . import COLUMNS, KEYS, build_all, compare

T0 = pd.Timestamp("2024-01-01")
ALL = "ABCDEFMX"
Tables = dict[str, pd.DataFrame]


def at(hours: float = 0, minutes: float = 0, ms: float = 0) -> pd.Timestamp:
    return T0 + pd.Timedelta(hours=hours, minutes=minutes, milliseconds=ms)


def candle(open_time: pd.Timestamp, price: float = 100.0, **over: Any) -> dict[str, Any]:
    """A flat, traded minute: 1 unit at `price`, all of it bought, unless told otherwise."""
    row: dict[str, Any] = {
        "symbol": "AAA",
        "open_time": open_time,
        "open": price,
        "high": price,
        "low": price,
        "close": price,
        "volume": 1.0,
        "close_time": open_time + pd.Timedelta(milliseconds=59_999),
        "trade_count": 1,
        "taker_buy_volume": 0.5,
    } | over
    quote = row["volume"] * row["close"]
    return {"quote_volume": quote, "taker_buy_quote_volume": 0.25 * quote} | row


def dead(open_time: pd.Timestamp, price: float = 100.0, **over: Any) -> dict[str, Any]:
    return candle(open_time, price, volume=0.0, trade_count=0, taker_buy_volume=0.0, **over)


def hours_of(hours: range | list[int], minutes: int = 1, **over: Any) -> list[dict[str, Any]]:
    return [candle(at(h, m), **over) for h in hours for m in range(minutes)]


def tables(klines: list[dict[str, Any]], **more: list[dict[str, Any]]) -> Tables:
    return {"klines_1m": pd.DataFrame(klines)} | {k: pd.DataFrame(v) for k, v in more.items()}


def funding(*events: tuple[pd.Timestamp, float | None, float], symbol: str = "AAA") -> Any:
    names = ("calc_time", "funding_interval_hours", "funding_rate")
    return [{"symbol": symbol} | dict(zip(names, e, strict=True)) for e in events]


def closes(values: dict[pd.Timestamp, float]) -> list[dict[str, Any]]:
    return [candle(t, v) for t, v in values.items()]


def metric(create_time: pd.Timestamp, oi: float, **over: Any) -> dict[str, Any]:
    return {
        "symbol": "AAA",
        "create_time": create_time,
        "sum_open_interest": oi,
        "sum_open_interest_value": oi * 100,
        "count_toptrader_long_short_ratio": 1.0,
        "sum_toptrader_long_short_ratio": 3.0,
        "count_long_short_ratio": 0.25,
        "sum_taker_long_short_vol_ratio": 2.0,
        "file_date": create_time.normalize(),
    } | over


def build(
    inputs: Tables, horizon_hours: float | None = None, *, families: str = "ABCM", **more: Any
) -> Tables:
    horizon = None if horizon_hours is None else at(horizon_hours)
    return build_all(inputs, horizon, families=families, **more)


def column(frame: pd.DataFrame, name: str, symbol: str = "AAA") -> list[Any]:
    return frame.loc[frame["symbol"] == symbol, name].tolist()


def same(got: list[Any], want: list[float | None]) -> bool:
    return got == pytest.approx([np.nan if w is None else w for w in want], nan_ok=True, rel=1e-12)


# --- shape ----------------------------------------------------------------------------------


def test_column_counts() -> None:
    assert {k: len(v) for k, v in COLUMNS.items()} == {
        "T": 6,
        "A": 17,
        "B": 12,
        "C": 14,
        "D": 26,
        "E": 51,
        "F": 47,
        "M": 34,
        "X": 9,
        "H": 16 + 88 + 43,
        "S": 28,
        "G": 105,
        "N": 21,
    }
    frames = build(tables(hours_of(range(3))), 3, families=ALL)
    assert list(frames["T"]) == COLUMNS["T"]
    for family in ALL:
        assert list(frames[family]) == KEYS + COLUMNS[family]
        assert frames[family][KEYS].equals(frames["T"][KEYS])


def test_no_data_is_no_rows() -> None:
    assert {len(f) for f in build({}, families=ALL).values()} == {0}


# --- T --------------------------------------------------------------------------------------


def test_rows_end_at_the_last_closed_hour() -> None:
    rows = build(tables([*hours_of([0]), candle(at(2, 58))]))["T"]
    assert column(rows, "hour_ts") == [at(0), at(1)]
    rows = build(tables([*hours_of([0]), candle(at(2, 59))]))["T"]
    assert column(rows, "hour_ts") == [at(0), at(1), at(2)]
    assert column(rows, "has_bar") == [1, 0, 1]
    assert column(rows, "bar_end_time")[0] == at(1)
    assert column(rows, "feature_time")[0] == at(1, ms=1)


def test_the_horizon_is_over_all_symbols() -> None:
    rows = build(tables([*hours_of([0]), candle(at(4, 59), symbol="BBB")]))["T"]
    assert column(rows, "hour_ts") == [at(h) for h in range(5)]
    assert column(rows, "hour_ts", "BBB") == [at(4)]


@pytest.mark.parametrize(("silence", "last"), [(167, 1), (168, 1), (169, 2), (400, 2)])
def test_only_a_silence_beyond_168_hours_ends_a_segment(silence: int, last: int) -> None:
    rows = build(tables(hours_of([0, silence])), silence + 1)["T"]
    assert column(rows, "listing_segment")[-1] == last
    assert column(rows, "hour_ts")[:-1] == [at(h) for h in range(min(silence, 168))]
    assert column(rows, "hour_ts")[-1] == at(silence)


def test_flat_candles_after_a_delisting_do_not_keep_the_spine_alive() -> None:
    frames = build(tables(hours_of([0]) + [dead(at(h)) for h in range(1, 300)]), 300)
    assert column(frames["T"], "hour_ts")[-1] == at(167)
    assert set(column(frames["T"], "has_bar")) == {1}
    assert column(frames["A"], "volume")[1:3] == [0, 0]
    assert column(frames["C"], "under_maintenance")[:3] == [0, 1, 1]


def test_flat_candles_before_the_listing_are_no_rows() -> None:
    rows = build(tables([dead(at(0)), *hours_of([2])]), 3)["T"]
    assert column(rows, "hour_ts") == [at(2)]


def test_a_split_cuts_at_the_next_traded_bar() -> None:
    splits = [{"symbol": "AAA", "split_ts": at(2)}]
    frames = build(tables(hours_of([0, 1, 4, 5]), listing_splits=splits), 6)
    assert column(frames["T"], "listing_segment") == [1, 1, 1, 1, 2, 2]
    assert same(column(frames["C"], "gap_seconds"), [None, 3600, 3600, 7200, None, 3600])
    assert column(frames["C"], "age_hours") == [1, 2, 2, 2, 1, 2]


# --- A --------------------------------------------------------------------------------------


def test_one_hour_by_hand() -> None:
    klines = [
        candle(at(0, 0), 10, high=12, low=9, volume=2.0, quote_volume=21.0, trade_count=3),
        dead(at(0, 1), 10),
        candle(at(0, 2), 10, high=14, close=13, volume=1.0, quote_volume=12.0),
        candle(at(0, 3), 50, open=60),  # open above high
        candle(at(0, 4), 50, low=0),
        candle(at(0, 5), 50, close=51),
    ]
    a = build(tables(klines), 1)["A"].iloc[0]
    assert a[["open", "high", "low", "close"]].tolist() == [10, 14, 9, 13]
    assert a[["volume", "quote_volume", "trade_count"]].tolist() == [3, 33, 4]
    assert a["taker_buy_volume"] == 1.0
    assert a["taker_buy_quote_volume"] == 0.25 * (20 + 13)
    assert a["vwap"] == pytest.approx((2 * 31 / 3 + 37 / 3) / 3)
    assert a["vwap_quote"] == 11
    assert a["vwap_dev"] == pytest.approx(13 / 11 - 1)
    assert a[["n_minutes", "n_minutes_active", "quote_is_proxy"]].tolist() == [3, 2, 0]
    assert a["bar_source"] == "klines_1m"


def test_missing_quote_volume_and_zero_volume() -> None:
    proxy = candle(at(0), 10, high=13, low=10, close=10, volume=2.0, quote_volume=np.nan)
    a = build(tables([proxy, candle(at(0, 1), 10), dead(at(1), 10)]), 3)["A"]
    assert column(a, "quote_volume") == pytest.approx([2 * 11 + 10, 0, np.nan], nan_ok=True)
    assert same(column(a, "quote_is_proxy"), [1, 0, None])
    assert same(column(a, "vwap_quote"), [None, None, None])
    assert same(column(a, "vwap"), [32 / 3, None, None])
    assert same(column(a, "vwap_dev"), [10 / (32 / 3) - 1, None, None])
    assert column(a, "n_minutes") == [2, 1, 0]
    assert column(a, "n_minutes_active") == [2, 0, 0]
    assert pd.isna(a["bar_source"].iloc[2])


def test_an_hourly_candle_stands_in_for_missing_minutes() -> None:
    hourly = [
        candle(at(0), 1.0),  # minutes exist: not used
        candle(at(1), 10, high=13, low=10, volume=5.0, trade_count=7, quote_volume=50.0),
        dead(at(2), 10),
        candle(at(3), 10, close=20),  # not valid
        candle(at(4), 10, high=13, quote_volume=np.nan),
        candle(at(9), 10),  # beyond the horizon
    ]
    klines = [candle(at(0, m), 10) for m in range(60)] + [candle(at(5), 10)]
    frames = build(tables(klines, klines_1h=hourly), 6)
    a, c = frames["A"], frames["C"]
    assert column(frames["T"], "has_bar") == [1, 1, 1, 0, 1, 1]
    assert column(a, "bar_source")[:3] == ["klines_1m", "klines_1h", "klines_1h"]
    assert same(column(a, "volume"), [60, 5, 0, None, 1, 1])
    assert same(column(a, "quote_volume"), [600, 50, 0, None, 11, 10])
    assert same(column(a, "quote_is_proxy"), [0, 0, 0, None, 1, 0])
    assert same(column(a, "vwap"), [10, 11, None, None, 11, 10])
    assert same(column(a, "vwap_quote"), [10, 10, None, None, None, 10])
    assert same(column(a, "n_minutes"), [60, 0, 0, 0, 0, 1])
    assert same(column(a, "n_minutes_active"), [60, None, None, 0, None, 1])
    # the fallback hour is no evidence of silence, and its last minute counts as active
    assert same(column(c, "gap_seconds_1m"), [60, None, None, None, None, 60])
    assert column(c, "under_maintenance") == [0, 0, 0, 1, 1, 0]
    assert column(c, "is_valid_for_training") == [0] * 6


def test_a_fallback_hour_without_trades_is_no_row_of_its_own() -> None:
    frames = build(tables(hours_of([3]), klines_1h=[dead(at(0)), candle(at(2))]), 4)
    assert column(frames["T"], "hour_ts") == [at(2), at(3)]


# --- B --------------------------------------------------------------------------------------


def test_jittered_settlement_belongs_to_its_own_hour() -> None:
    events = funding((at(1, ms=17), 8, 0.001), (at(1, ms=3), 8, 0.5))
    b = build(tables(hours_of(range(4)), funding_rate=events), 4)["B"]
    assert same(column(b, "funding_rate"), [None, 0.001, 0.001, 0.001])
    assert same(column(b, "hours_since_funding"), [None, 0, 1, 2])
    assert same(column(b, "funding_annualized"), [None] + [0.001 * 1095] * 3)
    assert same(column(b, "funding_delta"), [None, None, 0, 0])
    assert same(column(b, "funding_paid_24h"), [None, 0.001, 0.001, 0.001])
    assert same(column(b, "arb_pressure"), [None, 1, 1, 1])
    assert same(column(b, "arb_pressure_side"), [None, 1, 1, 1])
    assert same(column(b, "funding_pressure"), [None] * 4)


def test_a_settlement_stamped_early_is_rounded_too() -> None:
    events = funding((at(1, ms=-17), 8, 0.001))
    b = build(tables(hours_of(range(3)), funding_rate=events), 3)["B"]
    assert same(column(b, "hours_since_funding"), [None, 0, 1])


def test_change_of_cycle_with_given_intervals() -> None:
    events = funding((at(0), 8, 0.0001), (at(8), 8, -0.0002), (at(12), 4, -0.0002))
    b = build(tables(hours_of(range(14)), funding_rate=events), 14)["B"].set_index("hour_ts")
    assert b.loc[at(11), "funding_interval_hours"] == 8
    assert b.loc[at(12), "funding_interval_hours"] == 4
    assert b.loc[at(12), "funding_annualized"] == pytest.approx(-0.0002 * 2190)
    assert b.loc[at(12), "funding_delta"] == 0
    assert b.loc[at(13), "funding_delta_settle"] == pytest.approx(-0.0002 * (2190 - 1095))
    assert b.loc[at(8), "funding_delta"] == pytest.approx(-0.0003)
    assert b.loc[at(8), "arb_pressure"] == 0
    assert b.loc[at(12), "arb_pressure_side"] == -1
    assert b.loc[at(12), "funding_paid_24h"] == pytest.approx(-0.0003)


def test_unknown_intervals_come_from_the_spacing() -> None:
    nan = np.nan
    events = funding(*((at(h), nan, 0.1) for h in (0, 8, 11, 23, 27)))
    b = build(tables(hours_of(range(30)), funding_rate=events), 30)["B"].set_index("hour_ts")
    assert b.loc[at(7), "funding_rate"] == 0.1
    stale = range(20, 23)  # a cycle of 4 hours, 12 hours of silence
    unknown = [h < 8 or h in stale for h in range(30)]
    assert b["funding_interval_hours"].isna().tolist() == unknown
    assert b["arb_pressure"].isna().tolist() == unknown
    assert b.loc[[at(8), at(11), at(23), at(27)], "funding_interval_hours"].tolist() == [8, 4, 8, 4]
    assert b.loc[at(23), "funding_paid_24h"] == pytest.approx(0.4)
    assert b.loc[at(24), "funding_paid_24h"] == pytest.approx(0.3)
    assert b["funding_delta_settle"].isna().tolist() == [h < 11 or h in stale for h in range(30)]
    assert b.loc[at(11), "funding_delta_settle"] == pytest.approx(0.1 * 1095)


@pytest.mark.parametrize(("interval", "alive"), [(8, 16), (4, 8), (1, 8), (np.nan, 8)])
def test_stale_funding_is_null_but_its_age_is_not(interval: float, alive: int) -> None:
    events = funding((at(0), interval, 0.001))
    b = build(tables(hours_of(range(30)), funding_rate=events), 30)["B"]
    assert b["funding_rate"].notna().tolist() == [h <= alive for h in range(30)]
    assert column(b, "hours_since_funding") == list(range(30))
    assert b["funding_paid_24h"].notna().tolist() == [h <= 23 for h in range(30)]
    others = b.drop(columns=[*KEYS, "funding_paid_24h", "hours_since_funding"])
    assert others[alive + 1 :].isna().all(axis=None)


def test_funding_never_crosses_a_segment() -> None:
    nan = np.nan
    events = funding((at(0), nan, 0.1), (at(399), nan, 0.2), (at(399, 30), nan, 0.3))
    b = build(tables(hours_of([0, 400]), funding_rate=events), 401)["B"]
    assert b["funding_rate"].iloc[[0, -1]].tolist() == [0.1, 0.3]
    assert np.isnan(b["funding_interval_hours"].iloc[-1])
    assert b["hours_since_funding"].iloc[-1] == 0.5
    assert b["funding_paid_24h"].iloc[-1] == 0.3


def test_funding_pressure_needs_ten_symbols_with_a_bar() -> None:
    names = [f"S{i:02}" for i in range(11)]
    klines = [candle(at(0), symbol=s) for s in names]
    klines += [candle(at(1), symbol=s) for s in names[:10]]
    klines += [candle(at(2), symbol=s) for s in names[:9]]
    events = [e for i, s in enumerate(names) for e in funding((at(0), 8, 0.0001 * i), symbol=s)]
    b = build(tables(klines, funding_rate=events), 3)["B"]
    unit = 0.0001 * 1095
    assert same(column(b, "funding_pressure", "S00"), [-5 * unit, -4.5 * unit, None])
    assert same(column(b, "funding_pressure", "S10"), [5 * unit, 5.5 * unit, None])


def test_predicted_funding_weights_minutes_by_their_place() -> None:
    premium = closes({at(1, 0): 0.001, at(1, 2): 0.003, at(2, 0): -0.002, at(0, 59): 9.0})
    events = funding((at(1), 4, 0.0001), (at(4), np.nan, 0.0001))
    inputs = tables(hours_of(range(14)), funding_rate=events, premium_index_klines_1m=premium)
    pred = build(inputs, 14)["B"].set_index("hour_ts")["funding_rate_pred"]
    assert np.isnan(pred[at(0)])
    assert pred[at(1)] == pytest.approx(((1 * 0.001 + 3 * 0.003) / 4 - 0.0005) * 4 / 8)
    mean = (1 * 0.001 + 3 * 0.003 - 61 * 0.002) / 65
    assert pred[at(2)] == pred[at(3)] == pytest.approx((mean + 0.0005) / 2)
    assert pred[at(4) :].isna().all()  # no premium minute since that settlement


# --- C --------------------------------------------------------------------------------------


def test_cooldown_covers_the_restart_bar_and_the_next() -> None:
    klines = hours_of([0, 1, 4, 5, 6], minutes=60)
    c = build(tables(klines), 7)["C"]
    assert same(column(c, "gap_seconds"), [None, 3600, 3600, 7200, 10800, 3600, 3600])
    assert same(column(c, "gap_seconds_1m"), [60, 60, None, None, 7260, 60, 60])
    assert column(c, "under_maintenance") == [0, 0, 1, 1, 1, 0, 0]
    assert column(c, "cooldown_no_trade") == [0, 0, 1, 1, 1, 1, 0]
    assert column(c, "trade_allowed") == [1, 1, 0, 0, 0, 0, 1]
    assert column(c, "is_stable") == [True, True, False, False, False, False, True]
    c = build(tables(klines), 7, cooldown_hours=1)["C"]
    assert column(c, "cooldown_no_trade") == [0, 0, 1, 1, 1, 0, 0]


def test_back_filled_silence_shows_on_the_minute_tape() -> None:
    klines = [candle(at(0, 0)), candle(at(0, 10)), dead(at(1, 0)), candle(at(1, 11)), dead(at(2))]
    klines += [candle(at(3, 0)), candle(at(3, 1)), candle(at(4, 1, 5000))]
    c = build(tables(klines), 5)["C"]
    assert same(column(c, "gap_seconds_1m"), [600, 3660, None, 109 * 60, 3605])
    assert column(c, "under_maintenance") == [0, 1, 1, 1, 0]


def test_spike_against_the_last_existing_close() -> None:
    klines = [candle(at(h), p) for h, p in [(0, 100), (1, 164.8), (3, 271.8), (4, 164.8)]]
    c = build(tables(klines), 5)["C"]
    # ln 1.648 < 0.5 < ln(271.8 / 164.8), and the way back
    assert column(c, "is_spike") == [False, False, False, True, True]


def test_volume_z_cap_and_clean() -> None:
    klines = [candle(at(h), volume=float(1 + h % 2)) for h in range(200)]
    klines[24] = candle(at(24), volume=9.0)
    klines[199] = candle(at(199), volume=50.0)
    del klines[100]
    c = build(tables(klines), 200)["C"].set_index("hour_ts")
    z = c["volume_z_168h"]
    assert z[: at(23)].isna().all()
    assert z[at(24)] == pytest.approx((9 - 1.5) / np.sqrt(24 * 0.25 / 23))
    assert c.loc[at(24), "is_volume_spike"]
    assert np.isnan(z[at(100)])
    assert c.index[c["volume_clean"].isna()].tolist() == [at(100)]
    # row 100 is missing, so the 168 earlier volumes are there at row 169
    assert c.loc[: at(168), "volume_cap_p99"].isna().all()
    assert c.loc[at(24), "volume_clean"] == 9
    assert c.loc[at(169), "volume_cap_p99"] == pytest.approx(2)  # rank 165.33 of 168
    assert c.loc[at(199), "volume_clean"] == pytest.approx(2)
    assert c.loc[at(198), "volume_clean"] == 1
    base = np.array([1 + h % 2 for h in range(31, 199) if h != 100])
    assert z[at(199)] == pytest.approx((50 - base.mean()) / base.std(ddof=1))
    c = build(tables(klines), 200, cap_q=1, cap_window=169)["C"].set_index("hour_ts")
    assert c.loc[at(193) : at(194), "volume_cap_p99"].tolist() == [9, 2]


def test_constant_volume_has_no_z() -> None:
    c = build(tables(hours_of(range(40))), 40)["C"]
    assert c["volume_z_168h"].isna().all()
    assert not c["is_volume_spike"].any()


def test_maturity_and_the_training_mask() -> None:
    klines = hours_of(range(27), minutes=50)
    del klines[26 * 50]
    c = build(tables(klines), 27)["C"]
    assert column(c, "age_hours") == list(range(1, 28))
    assert column(c, "is_mature") == [h >= 24 for h in range(27)]
    assert column(c, "is_valid_for_training") == [0] * 24 + [1, 1, 0]


# --- M --------------------------------------------------------------------------------------


def test_metrics_duplicates_zeros_and_late_rows() -> None:
    rows = [
        metric(at(0, 40), 1.0),  # stale
        metric(at(0, 50), 10.0),
        metric(at(0, 50, 16_000), 0.0, sum_open_interest_value=0.0),  # same bucket, dead
        metric(at(0, 60), 99.0),  # not public before the hour closes
        metric(at(1, 45), 12.0, sum_open_interest_value=0.0, count_long_short_ratio=0.0),
        metric(at(1, 55), 0.0, sum_taker_long_short_vol_ratio=0.0),
        metric(at(2, 55, 2_000), 15.0),  # off the grid: floored
        metric(at(2, 55, 1_000), 14.0),
        metric(at(3, 55), 16.0, file_date=at(24)),
        metric(at(3, 55), 17.0, file_date=at(0)),
        metric(at(4, 55), 18.0),
        metric(at(4, 55), 19.0),
        metric(at(5, 40), 20.0),  # stale, and nothing younger
    ]
    m = build(tables(hours_of(range(6)), metrics=rows), 6)["M"]
    assert same(column(m, "oi_open_interest"), [10, 12, 15, 16, 19, None])
    assert same(column(m, "oi_age_minutes"), [10, 15, 5, 5, 5, None])
    assert same(column(m, "oi_open_interest_usd"), [1000, None, 1500, 1600, 1900, None])
    assert same(column(m, "ls_taker_long_short_vol_ratio"), [2, 0, 2, 2, 2, None])
    assert same(column(m, "ls_global_account_ratio"), [0.25] * 5 + [None])
    assert same(column(m, "oi_delta"), [None, 2, 3, 1, 3, None])
    assert same(column(m, "oi_delta_usd"), [None, None, None, 100, 300, None])
    assert same(column(m, "toptrader_position_long_share"), [0.75] * 5 + [None])
    assert same(column(m, "toptrader_account_long_share"), [0.5] * 5 + [None])
    assert same(column(m, "global_account_long_share"), [0.2] * 5 + [None])
    assert same(column(m, "smart_dumb_spread"), [0.55] * 5 + [None])
    assert same(column(m, "super_whale_divergence"), [0.25] * 5 + [None])


def test_open_interest_against_the_tape() -> None:
    klines = [
        candle(at(0), 10),
        candle(at(1), 10, high=20, close=20, volume=4.0, quote_volume=60.0),
        candle(at(2), 10, high=20, close=20),
        candle(at(3), 20, low=10, close=10),
        candle(at(4), 20, low=10, close=10, quote_volume=np.nan),
        candle(at(5), 20),
        dead(at(6), 20),
    ]
    ois = [10, 12, 9, 11, 8, 9, 10, 11]
    rows = [metric(at(h, 55), float(oi)) for h, oi in enumerate(ois)]
    m = build(tables(klines, metrics=rows), 8)["M"]
    assert same(column(m, "oi_price_quadrant"), [None, 1, 2, 3, 4, None, None, None])
    assert same(column(m, "oi_delta"), [None, 2, -3, 2, -3, 1, 1, 1])
    assert same(column(m, "oi_delta_over_volume"), [None, 0.5, -3, 2, -3, 1, None, None])
    assert column(m, "oi_flow_usd")[1] == 2 * 60 / 4
    assert column(m, "oi_flow_over_quote_volume")[1] == 0.5
    assert column(m, "oi_delta_usd_over_quote_volume")[1] == pytest.approx(200 / 60)
    assert column(m, "oi_turnover")[1] == pytest.approx(60 / 1200)
    assert np.isnan(column(m, "oi_flow_usd")[4])  # no native quote volume
    assert column(m, "oi_turnover")[6] == 0
    ratio = column(m, "taker_vol_ratio_1h")
    assert same(ratio[:2] + ratio[5:], [1 / 3, 20 / 40, 1 / 3, None, None])


def test_open_interest_change_starts_afresh_with_a_segment() -> None:
    splits = [{"symbol": "AAA", "split_ts": at(1)}]
    rows = [metric(at(h, 55), 10.0 + h) for h in range(3)]
    inputs = tables(hours_of(range(3)), metrics=rows, listing_splits=splits)
    m = build(inputs, 3)["M"]
    assert same(column(m, "oi_delta"), [None, None, 1])
    assert same(column(m, "oi_delta_usd"), [None, None, 100])


@pytest.mark.parametrize(("minute", "known"), [(54, False), (55, True)])
def test_triad_closes_must_be_late(minute: int, known: bool) -> None:
    kline = candle(at(0, minute), 50)
    inputs = tables(
        [kline], mark_price_klines_1m=[kline], index_price_klines_1m=[candle(at(0, minute), 40)]
    )
    m = build(inputs, 1)["M"].iloc[0]
    names = ["triad_mark_close", "triad_index_close"]
    assert same(m[names].tolist(), [50, 40] if known else [None, None])
    names = ["triad_basis", "triad_mark_basis", "triad_last_mark_dev"]
    assert same(m[names].tolist(), [0.25, 0.25, 0] if known else [None] * 3)


def test_start_labels_from_the_change_on() -> None:
    rows = [metric(at(0, 45), 1.0), metric(at(0, 50), 2.0), metric(at(0, 55), 3.0)]
    inputs = tables(hours_of(range(1)), metrics=rows)
    assert column(build(inputs, 1)["M"], "oi_open_interest") == [3]
    m = build(inputs, 1, label_change=T0)["M"]
    assert column(m, "oi_open_interest") == [2]
    assert column(m, "oi_age_minutes") == [5]


def test_triad() -> None:
    def series(price: float, minutes: range, hour: int = 0) -> list[dict[str, Any]]:
        return [candle(at(hour, m), price) for m in minutes]

    last = series(102, range(44)) + series(103, range(55, 57)) + series(50, range(5), hour=1)
    index = series(100, range(58)) + series(-1, range(58, 60)) + series(40, range(5), hour=1)
    mark = series(101, range(59))
    premium = [
        candle(at(0, 3), -0.2, open=-0.1, high=0.3, low=-0.4),
        candle(at(0, 7), 0.1, high=0.2, low=0.05),
        candle(at(0, 8), np.inf),
        *[candle(at(1, m), 0.001 * (m % 3)) for m in range(45)],
    ]
    inputs = tables(
        last,
        index_price_klines_1m=index,
        mark_price_klines_1m=mark,
        premium_index_klines_1m=premium,
    )
    m = build(inputs, 2)["M"]
    assert same(column(m, "triad_mark_close"), [101, None])
    assert same(column(m, "triad_index_close"), [100, None])
    assert same(column(m, "triad_premium_open"), [-0.1, 0])
    assert same(column(m, "triad_premium_high"), [0.3, 0.002])
    assert same(column(m, "triad_premium_low"), [-0.4, 0])
    assert same(column(m, "triad_premium_close"), [0.1, 0.002])
    assert same(column(m, "triad_premium_twap"), [None, 0.001])
    assert same(column(m, "triad_basis"), [0.03, None])
    mean = (44 * 0.02 + 2 * 0.03) / 46
    variance = (44 * (0.02 - mean) ** 2 + 2 * (0.03 - mean) ** 2) / 46
    assert same(column(m, "triad_basis_mean"), [mean, None])
    assert column(m, "triad_basis_std") == pytest.approx([variance**0.5, np.nan], nan_ok=True)
    assert same(column(m, "triad_mark_basis"), [0.01, None])
    assert same(column(m, "triad_last_mark_dev"), [2 / 101, None])


# --- a market with flaws --------------------------------------------------------------------


def market(symbols: int, hours: int, seed: int = 7) -> Tables:
    """Random walks with holes, missing quote volumes, dead minutes, late and dead metrics."""
    rng = np.random.default_rng(seed)
    out: dict[str, list[pd.DataFrame]] = {}

    def add(name: str, frame: pd.DataFrame, keep: float) -> None:
        out.setdefault(name, []).append(frame[rng.random(len(frame)) < keep])

    for s in range(symbols):
        n = hours * 60
        t = pd.date_range(T0, periods=n, freq="min")
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.001, n)))
        open_ = np.concatenate([[100], close[:-1]])
        volume = np.where(rng.random(n) < 0.1, 0, rng.lognormal(0, 1, n))
        k = pd.DataFrame({"symbol": f"S{s:02}", "open_time": t, "open": open_})
        k["high"], k["low"] = np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999
        k["close"], k["volume"] = close, volume
        k["close_time"] = t + pd.Timedelta(milliseconds=59_999)
        k["quote_volume"] = np.where(rng.random(n) < 0.0005, np.nan, volume * close)
        k["trade_count"] = np.ceil(volume)
        k["taker_buy_volume"] = volume / 2
        k["taker_buy_quote_volume"] = volume * close / 2
        silent = rng.random(hours) < 0.02
        gone = slice(hours // 2, hours // 2 + 200 * (s % 3 == 0))
        silent[gone] = True
        add("klines_1m", k[~np.repeat(silent, 60)], 0.99)
        add("klines_1h", k[::60].drop(k[::60][gone].index), 0.5)
        for name in ("mark_price", "index_price", "premium_index"):
            other = k[["symbol", "open_time", "open", "high", "low", "close", "close_time"]].copy()
            prices = ["open", "high", "low", "close"]
            if name == "premium_index":
                other[prices] = other[prices].sub(other["open"], axis=0) / 100
            else:
                other[prices] *= 1 + rng.normal(0, 0.0005)
            add(f"{name}_klines_1m", other, 0.98)
        step = 4 if s % 2 else 8
        settle = t[:: 60 * step] + pd.to_timedelta(rng.integers(0, 17, len(t[:: 60 * step])), "ms")
        interval = np.where(rng.random(len(settle)) < 0.3, np.nan, step)
        f = pd.DataFrame({"symbol": f"S{s:02}", "calc_time": settle})
        f["funding_interval_hours"] = interval
        f["funding_rate"] = rng.normal(0.0001, 0.0003, len(f))
        add("funding_rate", f, 0.97)
        stamps = t[::5] + pd.to_timedelta(rng.choice([0, 0, 0, 2, 280], n // 5), "s")
        m = pd.DataFrame({"symbol": f"S{s:02}", "create_time": stamps})
        m["sum_open_interest"] = np.where(rng.random(len(m)) < 0.02, 0, rng.lognormal(5, 1, len(m)))
        m["sum_open_interest_value"] = m["sum_open_interest"] * 100
        for c in ("count_toptrader_long_short_ratio", "sum_toptrader_long_short_ratio"):
            m[c] = rng.lognormal(0, 0.2, len(m))
        m["count_long_short_ratio"] = rng.choice([0, np.nan, 0.9, 1.1], len(m))
        m["sum_taker_long_short_vol_ratio"] = rng.choice([0, np.nan, 0.9, 1.1], len(m))
        m["file_date"] = m["create_time"].dt.normalize()
        add("metrics", pd.concat([m, m.sample(frac=0.01, random_state=seed)]), 0.97)
    out["agg_trades"], out["tick_days"] = zip(
        *(tape(f"S{s:02}", hours, np.random.default_rng([seed, s])) for s in range(symbols)),
        strict=True,
    )
    return {name: pd.concat(parts, ignore_index=True) for name, parts in out.items()}


def tape(symbol: str, hours: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Some twenty trades an hour, one in a hundred of them bad, and most days covered."""
    n = 20 * hours
    ids = np.arange(n)
    ticks = pd.DataFrame({"symbol": symbol, "file": "tape", "agg_trade_id": ids})
    ticks["price"] = 100 * np.exp(np.cumsum(rng.normal(0, 0.001, n)))
    ticks["quantity"] = np.where(rng.random(n) < 0.01, 0, rng.lognormal(0, 2, n))
    ticks["first_trade_id"], ticks["last_trade_id"] = 2 * ids, 2 * ids + rng.integers(2, size=n)
    ticks["transact_time"] = T0 + pd.to_timedelta(np.sort(rng.integers(hours * 3600, size=n)), "s")
    ticks["is_buyer_maker"] = rng.random(n) < 0.5
    days = pd.DataFrame({"symbol": symbol, "day": pd.date_range(T0, periods=-(-hours // 24))})
    return ticks, days[rng.random(len(days)) < 0.9]


def until(inputs: Tables, end: pd.Timestamp) -> Tables:
    stamps = {
        "funding_rate": "calc_time",
        "metrics": "create_time",
        "agg_trades": "transact_time",
        "tick_days": "day",
    }
    return {k: v[v[stamps.get(k, "open_time")] < end] for k, v in inputs.items()}


@pytest.mark.deep
def test_later_data_change_no_earlier_row() -> None:
    inputs = market(symbols=11, hours=420)
    full = build(inputs, families=ALL)
    cut = full["T"]["hour_ts"].min() + pd.Timedelta(hours=301)
    early = build(until(inputs, cut), 301, families=ALL)
    assert early["T"]["hour_ts"].max() == at(300)
    assert (full["T"]["listing_segment"] == 2).any()
    for family, frame in full.items():
        known = frame[frame["hour_ts"] < cut]
        assert [str(d) for d in compare(known, early[family], rel=0, floor=0)] == []
        values = known.select_dtypes("number").to_numpy(dtype="float64")
        assert not np.isinf(values).any()
    late = {"qrs_hl_z", "qrs_hl", "qrs_hl_rskew"}  # they need 450 hours
    empty = {c for f in "ABCDEFMX" for c in COLUMNS[f] if full[f][c].isna().all()}
    assert empty == late


def test_the_order_of_the_input_rows_does_not_matter() -> None:
    inputs = market(symbols=2, hours=48)
    mixed = {k: v.sample(frac=1, random_state=1) for k, v in inputs.items() if k != "metrics"}
    want, got = (build(given, 48, families=ALL) for given in (inputs, inputs | mixed))
    assert all(compare(want[f], got[f], rel=0, floor=0) == [] for f in want)


# --- compare --------------------------------------------------------------------------------


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "symbol": ["A", "A", "B", "B"],
            "hour_ts": [at(0), at(1), at(0), at(1)],
            "x": [1.0, np.nan, 3.0, 1e6],
            "n": [1, 2, 3, 4],
            "flag": [True, False, True, False],
            "source": ["klines_1m", None, "klines_1h", "klines_1m"],
            "when": [at(1), at(2), at(1), pd.NaT],
        }
    )


def test_compare_accepts_what_is_equal(frame: pd.DataFrame) -> None:
    other = frame.sample(frac=1, random_state=3).astype({"n": "Int32", "x": "Float64"})
    other["hour_ts"] = other["hour_ts"].astype("datetime64[ns]")
    other["flag"] = other["flag"].astype("boolean")
    other["x"] *= 1 + 1e-12
    other["unasked"] = 1
    assert compare(frame, other) == []
    assert [d.kind for d in compare(frame, other, extra_columns=False)] == ["extra column"]


@pytest.mark.parametrize(
    ("column_", "row", "value", "kind"),
    [
        ("x", 2, 3.0 + 1e-5, "value"),
        ("x", 3, np.inf, "value"),
        ("n", 0, 7, "value"),
        ("flag", 1, True, "value"),
        ("source", 0, "klines_1h", "value"),
        ("when", 0, at(9), "value"),
        ("x", 0, np.nan, "NULL"),
        ("x", 1, 0.0, "NULL"),
        ("source", 1, "klines_1m", "NULL"),
        ("when", 0, pd.NaT, "NULL"),
    ],
)
def test_compare_sees_one_wrong_cell(
    frame: pd.DataFrame, column_: str, row: int, value: Any, kind: str
) -> None:
    other = frame.copy()
    other.loc[row, column_] = value
    (difference,) = compare(frame, other)
    assert (difference.column, difference.kind, difference.n) == (column_, kind, 1)
    assert difference.examples[0][:2] == tuple(frame.loc[row, KEYS])
    assert str(frame.loc[row, column_]) in str(difference)
    assert str(value) in str(difference)


def test_compare_sees_rows_and_columns_that_are_missing(frame: pd.DataFrame) -> None:
    (lost,) = compare(frame, frame.iloc[1:])
    assert (lost.kind, lost.n, lost.examples) == ("missing row", 1, (("A", at(0)),))
    (extra,) = compare(frame.iloc[1:], frame)
    assert (extra.kind, extra.n) == ("extra row", 1)
    (again,) = compare(frame, pd.concat([frame, frame.iloc[:1]]))
    assert (again.kind, again.n) == ("duplicate key in actual", 1)
    (gone,) = compare(frame, frame.drop(columns="x"))
    assert (gone.column, gone.kind) == ("x", "missing column")


def test_compare_shows_three_examples_and_counts_all(frame: pd.DataFrame) -> None:
    (difference,) = compare(frame, frame.assign(n=0))
    assert (difference.n, len(difference.examples)) == (4, 3)


def test_compare_forgives_noise_of_the_columns_own_scale_only(frame: pd.DataFrame) -> None:
    ref = frame.assign(x=[1e6, 1e-9, 1.0, 2.0])
    assert compare(ref, ref.assign(x=[1e6, 2e-9, 1.0, 2.0])) == []
    assert len(compare(ref, ref.assign(x=[1e6, 1e-4, 1.0, 2.0]))) == 1
    assert len(compare(ref, ref.assign(x=[1e6, 2e-9, 1.0, 2.0]), floor=0)) == 1


if __name__ == "__main__":  # python -m reference.test_reference: the time a realistic size takes
    data = market(symbols=13, hours=1700)
    start = time.perf_counter()
    build(data, families=ALL)
    print(f"{time.perf_counter() - start:.1f} s for {len(data['klines_1m']):,} minutes")
