"""Family S against rows worked out by hand."""

from __future__ import annotations

from math import exp, floor, isnan, log, sqrt, tanh
from typing import Any

import numpy as np
import pandas as pd
import pytest

from .structure import (
    BAR_INPUTS,
    FLOW_INPUTS,
    LIQUIDATION_INPUTS,
    S_COLUMNS,
    STAKE_INPUTS,
    family_s,
    strongest,
)
from .test_reference import at, column, same

KEYS = ["symbol", "hour_ts"]
WIDTH = 0.0025
NEAR = pytest.approx
ONE_TIER: dict[str, Any] = {"leverage_tiers": {10: 1.0}, "maintenance": 0.0}
MAGNET = [
    "distance_to_max_liq",
    "distance_to_max_liq_up",
    "distance_to_max_liq_dn",
    "magnet_max_share",
    "magnet_pull",
]
Rows = list[dict[str, Any]]


def row(hour: int, price: float | None = 100.0, **over: Any) -> dict[str, Any]:
    """A spine row: a flat bar, an even tape, unmoved open interest, a silent liquidation feed."""
    bar = price is not None
    sides = dict.fromkeys(FLOW_INPUTS, 1.0) | {"whale_imbalance": 0.0, "retail_imbalance": 0.0}
    return {
        "symbol": "AAA",
        "hour_ts": at(hour),
        "has_bar": int(bar),
        "listing_segment": 1,
        **dict.fromkeys(BAR_INPUTS, price),
        "quote_volume": 1000.0 if bar else None,
        **sides,
        "oi_open_interest": 10.0,
        "oi_delta": 0.0 if hour else None,
        "long_liq_volume": 0.0,
        "short_liq_volume": 0.0,
        "liq_imbalance": None,
        "liq_feed_ok": 1.0,
    } | over


def event(time: pd.Timestamp, price: float, value: float = 1.0, **over: Any) -> dict[str, Any]:
    return {
        "symbol": "AAA",
        "hour_ts": time.floor("h"),
        "available_time": time,
        "average_price": price,
        "price": price,
        "value": value,
    } | over


def structure(rows: Rows, events: Rows | None = None, **more: Any) -> pd.DataFrame:
    numbers = [*BAR_INPUTS, *FLOW_INPUTS, *STAKE_INPUTS, *LIQUIDATION_INPUTS]
    frame = pd.DataFrame(rows).astype(dict.fromkeys(numbers, "float64"))
    names = ["symbol", "hour_ts", "available_time", "average_price", "price", "value"]
    return family_s(
        frame[[*KEYS, "has_bar", "listing_segment"]],
        frame[KEYS + BAR_INPUTS],
        frame[KEYS + FLOW_INPUTS],
        frame[KEYS + STAKE_INPUTS].iloc[::-1],
        frame[KEYS + LIQUIDATION_INPUTS],
        pd.DataFrame(events or [], columns=names),
        **more,
    )


def side_by_side(cases: list[Rows], **more: Any) -> list[pd.DataFrame]:
    """Every case as a symbol of its own, all in one run."""
    named = [[one | {"symbol": f"S{i:02}"} for one in rows] for i, rows in enumerate(cases)]
    frame = structure([one for rows in named for one in rows], **more)
    return [own.reset_index(drop=True) for _, own in frame.groupby("symbol")]


def with_interest(rows: Rows, changes: dict[int, float], start: float = 10.0) -> Rows:
    """The rows with open interest that changes by so much in these hours."""
    level = start
    for i, one in enumerate(rows):
        level += changes.get(i, 0.0)
        one |= {"oi_open_interest": level, "oi_delta": changes.get(i, 0.0) if i else None}
    return rows


def to(price: float, close: float = 100.0) -> float:
    """Log distance from the close to the middle of the price's bin."""
    return (floor(log(price) / WIDTH) + 0.5) * WIDTH - log(close)


def magnet_at(frame: pd.DataFrame, i: int) -> dict[str, float]:
    return {name: float(frame[name].iloc[i]) for name in MAGNET}


# --- shape ----------------------------------------------------------------------------------


def test_columns() -> None:
    assert len(S_COLUMNS) == len(set(S_COLUMNS)) == 28
    frame = structure([row(0)])
    assert list(frame) == KEYS + S_COLUMNS
    known = {
        "fuel_short_intensity": 0.0,
        "fuel_long_intensity": 0.0,
        "whale_retail_ratio": 1.0,
        "whale_retail_logratio": 0.0,
        "whale_retail_divergence": 0.0,
        "retail_count_imbalance": 0.0,
        "net_burn_volume": 0.0,
        "net_burn_over_quote": 0.0,
    }
    assert frame[S_COLUMNS].iloc[0].dropna().to_dict() == known


def test_no_rows() -> None:
    frame = pd.DataFrame([row(0)]).iloc[:0]
    names = ["symbol", "hour_ts", "available_time", "average_price", "price", "value"]
    got = family_s(frame, frame, frame, frame, frame, pd.DataFrame(columns=names))
    assert list(got) == KEYS + S_COLUMNS
    assert len(got) == 0


# --- fuel -----------------------------------------------------------------------------------


def test_fuel_against_the_week_before() -> None:
    # ln(1+x) is 0 and ln 2 in turn: mean and deviation are half of ln 2, and 3 stands at 2 ln 2
    rows = [row(h, short_liq_volume=float(h % 2)) for h in range(126)]
    frame = structure([*rows, row(126, short_liq_volume=3.0)])
    assert same(column(frame, "fuel_short_z"), [None] * 126 + [3 / sqrt(126 / 125)])
    assert column(frame, "fuel_long_z") == NEAR([np.nan] * 127, nan_ok=True)


def test_fuel_counts_only_known_hours() -> None:
    rows = [row(h, long_liq_volume=float(h % 2)) for h in range(131)]
    rows[126] = row(126, long_liq_volume=None)
    rows[129] |= {"long_liq_volume": None}
    got = column(structure(rows), "fuel_long_z")
    # the 126th known hour is row 125, so row 127 is the first with a base and a value
    assert [isnan(x) for x in got] == [h < 127 or h == 129 for h in range(131)]
    assert got[127] == NEAR(sqrt(125 / 126))


def test_fuel_looks_back_168_hours() -> None:
    rows = [row(h, long_liq_volume=float(h == 0)) for h in range(170)]
    got = column(structure(rows), "fuel_long_z")
    # one 1 among 168: mean 1/168, variance (1 - 1/168) / 167
    assert got[168] == NEAR(-1 / 168 / sqrt(1 / 168))
    assert isnan(got[169])  # a constant


def test_fuel_does_not_cross_a_segment() -> None:
    rows = [row(h, short_liq_volume=float(h % 2)) for h in range(254)]
    for one in rows[127:]:
        one |= {"listing_segment": 2}
    got = structure(rows)["fuel_short_z"].notna().to_numpy().nonzero()[0]
    assert got.tolist() == [126, 253]


def test_intensity() -> None:
    rows = [
        row(0, short_liq_volume=10.0, long_liq_volume=250.0),
        row(1, quote_volume=0.0),
        row(2, None),
        row(3, short_liq_volume=None, long_liq_volume=None),
    ]
    frame = structure(rows)
    assert same(column(frame, "fuel_short_intensity"), [0.01, None, None, None])
    assert same(column(frame, "fuel_long_intensity"), [0.25, None, None, None])


def test_memory_halves_in_six_hours() -> None:
    rows = [row(h, short_liq_volume=64.0 * (h == 0)) for h in range(63)]
    got = column(structure(rows), "fuel_short_mem")
    # twelve rows carry 3/4 of all weight, eleven do not
    assert same(got[:12], [None] * 11 + [64 * 2 ** (-11 / 6)])
    assert got[12] == NEAR(16.0)
    assert got[60] == NEAR(2.0**-4)
    assert got[61:] == [0, 0]
    got = column(structure(rows, fuel_hl=3.0), "fuel_short_mem")
    assert same(got[:7], [None] * 5 + [64 * 2 ** (-5 / 3), 16.0])


def test_memory_without_the_latest_hours() -> None:
    rows = [row(h, long_liq_volume=1.0) for h in range(70)]
    for h in (66, 67):
        rows[h] |= {"long_liq_volume": None, "short_liq_volume": None}
    got = column(structure(rows), "fuel_long_mem")
    weights = [2 ** (-k / 6) for k in range(61)]
    assert got[65] == NEAR(sum(weights))
    assert got[66] == NEAR(sum(weights[1:]))  # 11 % of the weight is unknown
    assert got[67] == NEAR(sum(weights[2:]))
    rows[65] |= {"long_liq_volume": None}
    # three hours are 29 % of the weight, too much; an hour later they are 26 %, then 23 %
    unknown = column(structure(rows), "fuel_long_mem")[65:]
    assert [isnan(x) for x in unknown] == [False, False, True, True, False]


def test_breaks_of_the_day_before() -> None:
    rows = [row(h, high=110.0, low=90.0) for h in range(18)]
    more = [
        row(18, 110.0),  # a touch is no break
        row(19, 111.0),
        row(20, 111.0),
        row(21, 89.0),
        row(22, None),
        row(23, 88.0),
    ]
    frame = structure([*rows, *more])
    up, down = column(frame, "fuel_break_up"), column(frame, "fuel_break_dn")
    assert same(up, [*[None] * 18, 0, 1, 0, 0, None, 0])
    assert same(down, [*[None] * 18, 0, 0, 0, 1, None, 1])


def test_breaks_need_18_bars_and_forget_after_24() -> None:
    rows = [row(h, None if h in (3, 4) else 100.0) for h in range(44)]
    rows[15] |= {"high": 120.0}
    rows[39] |= {"close": 119.0}
    got = column(structure(rows), "fuel_break_up")
    assert [isnan(x) for x in got] == [h < 20 for h in range(44)]
    assert sum(got[20:]) == 0
    rows[39] |= {"close": 100.0}
    rows[40] |= {"close": 119.0}
    assert column(structure(rows), "fuel_break_up")[40] == 1


def test_scores() -> None:
    rows = [row(h, short_liq_volume=float(h % 2), long_liq_volume=0.5) for h in range(126)]
    last = {"short_liq_volume": 3.0, "long_liq_volume": 0.5}
    frame = structure([*rows, row(126, 101.0, **last), row(127, 100.0, **last)])
    assert same(column(frame, "fuel_up_score")[125:127], [None, 3 / sqrt(126 / 125)])
    assert column(frame, "fuel_up_score")[127] == 0
    assert column(frame, "fuel_short_z")[127] > 2
    assert same(column(frame, "fuel_dn_score")[126:], [None, None])  # a constant has no z


# --- the estimated map ----------------------------------------------------------------------


def test_one_entry() -> None:
    # one contract at 100: the long dies at 90, the short at 110, 100 USDT each
    frame = structure(with_interest([row(h) for h in range(50)], {1: 1.0}), **ONE_TIER)
    up, down = to(110), to(90)
    assert (up, down) == NEAR((1880.5 * WIDTH - log(100), 1799.5 * WIDTH - log(100)))
    assert frame[MAGNET].notna().to_numpy().nonzero()[0].tolist() == [47] * 5 + [48] * 5 + [49] * 5
    want = {
        "distance_to_max_liq": up,  # equal masses: the nearer one
        "distance_to_max_liq_up": up,
        "distance_to_max_liq_dn": down,
        "magnet_max_share": 0.5,
        "magnet_pull": tanh((-down - up) / 0.06),
    }
    assert magnet_at(frame, 47) == NEAR(want)
    assert magnet_at(frame, 49) == NEAR(want)


def test_tiers_and_maintenance() -> None:
    frame = structure(with_interest([row(h) for h in range(48)], {3: 2.0}))
    got = magnet_at(frame, 47)
    # of the two heaviest tiers (10 and 25) the latter's levels are the nearer ones
    assert got["distance_to_max_liq_up"] == NEAR(to(103.5))
    assert got["distance_to_max_liq_dn"] == NEAR(to(96.5))
    weights = {5: 0.15, 10: 0.30, 25: 0.30, 50: 0.15, 100: 0.10}
    up = sum(w * exp(-to(100 * (1 + 1 / x - 0.005)) / 0.03) for x, w in weights.items())
    down = sum(w * exp(to(100 * (1 - 1 / x + 0.005)) / 0.03) for x, w in weights.items())
    assert got["magnet_pull"] == NEAR((up - down) / (up + down))
    assert got["magnet_max_share"] == NEAR(0.15)


def test_decay_and_exits() -> None:
    # A of 100 USDT at hour 1, B of 210 at hour 13; in the second case half of A leaves before B
    rows = [row(h) for h in range(48)]
    rows[13] |= {"vwap_quote": 105.0}
    whole = with_interest([dict(r) for r in rows], {1: 1.0, 13: 2.0})
    halved = with_interest([dict(r) for r in rows], {1: 1.0, 12: -5.5, 13: 2.0})
    frames = side_by_side([whole, halved], **ONE_TIER)
    a, b = 100 * 2 ** (-12 / 24), 210.0
    got = magnet_at(frames[0], 47)
    assert got["distance_to_max_liq"] == NEAR(to(94.5))
    assert got["magnet_max_share"] == NEAR(b / (2 * (a + b)))
    # exits shrink what stands, later entries are whole
    assert magnet_at(frames[1], 47)["magnet_max_share"] == NEAR(b / (2 * (a / 2 + b)))
    frame = structure(with_interest(rows, {1: 1.0, 13: 2.0}), magnet_hl=12.0, **ONE_TIER)
    assert magnet_at(frame, 47)["magnet_max_share"] == NEAR(b / (2 * (50 + b)))


def swept(name: str, prices: list[float], hour: int) -> list[dict[str, float]]:
    """The maps of hour 47 where one entry of hour 1 meets these extremes."""
    cases = [with_interest([row(h) for h in range(48)], {1: 1.0}) for _ in prices]
    for rows, price in zip(cases, prices, strict=True):
        rows[hour] |= {name: price}
    return [magnet_at(frame, 47) for frame in side_by_side(cases, **ONE_TIER)]


def test_sweeps_go_by_bin() -> None:
    # 90 lies in the bin from 89.792 to 90.017
    alive, touched, crossed = swept("low", [90.02, 90.01, 89.0], hour=20)
    assert alive["distance_to_max_liq_dn"] == NEAR(to(90))
    assert alive["magnet_max_share"] == 0.5
    for got in (touched, crossed):
        assert isnan(got["distance_to_max_liq_dn"])
        assert got["distance_to_max_liq"] == NEAR(to(110))
        assert (got["magnet_max_share"], got["magnet_pull"]) == (1, 1)
    # 110 lies in the bin from 109.947 to 110.222
    alive, touched, crossed = swept("high", [109.94, 109.95, 150.0], hour=47)
    assert alive["distance_to_max_liq_up"] == NEAR(to(110))
    for got in (touched, crossed):
        assert isnan(got["distance_to_max_liq_up"])
        assert got["distance_to_max_liq"] == NEAR(to(90))
        assert (got["magnet_max_share"], got["magnet_pull"]) == (1, -1)


def test_levels_crossed_in_the_hour_of_entry_are_not_entered() -> None:
    rows = with_interest([row(h) for h in range(48)], {1: 1.0})
    rows[1] |= {"high": 109.96, "low": 90.02}
    got = magnet_at(structure(rows, **ONE_TIER), 47)
    assert isnan(got["distance_to_max_liq_up"])
    assert got["distance_to_max_liq_dn"] == NEAR(to(90))
    rows[1] |= {"low": 90.01}
    assert structure(rows, **ONE_TIER)[MAGNET].isna().to_numpy().all()


def test_the_average_price_of_an_entry() -> None:
    cases = [with_interest([row(h) for h in range(48)], {1: 1.0}) for _ in range(3)]
    cases[0][1] |= {"vwap_quote": 101.0, "vwap": 102.0}
    cases[1][1] |= {"vwap_quote": None, "vwap": 102.0}
    cases[2][1] |= {"vwap_quote": None, "vwap": None}
    paid, approximate, none = side_by_side(cases, **ONE_TIER)
    assert magnet_at(paid, 47)["distance_to_max_liq_up"] == NEAR(to(111.1))
    assert magnet_at(approximate, 47)["distance_to_max_liq_up"] == NEAR(to(112.2))
    assert none[MAGNET].isna().to_numpy().all()


def test_48_fresh_hours_need_not_be_consecutive() -> None:
    rows = with_interest([row(h) for h in range(54)], {1: 1.0})
    for h in (10, 20):
        rows[h] |= {"oi_open_interest": None, "oi_delta": None}
        rows[h + 1] |= {"oi_delta": None}
    frame = structure(rows, **ONE_TIER)
    assert frame["magnet_pull"].notna().to_numpy().nonzero()[0].tolist() == list(range(49, 54))
    rows[52] |= {"oi_open_interest": None, "oi_delta": None}  # a stale hour keeps the map
    assert column(structure(rows, **ONE_TIER), "magnet_max_share")[52] == 0.5


def test_a_change_across_a_stale_hour_is_unknown() -> None:
    rows = with_interest([row(h) for h in range(60)], {1: 1.0, 31: 50.0})
    rows[30] |= {"oi_open_interest": None, "oi_delta": None}
    rows[31] |= {"oi_delta": None, "vwap_quote": 105.0}
    got = magnet_at(structure(rows, **ONE_TIER), 59)
    assert got["distance_to_max_liq"] == NEAR(to(110))
    assert got["magnet_max_share"] == 0.5


def test_hours_without_a_bar() -> None:
    rows = [row(h) for h in range(48)]
    rows[1] |= {"vwap_quote": 105.0}
    rows[12] = row(12, None)
    rows[46] = row(46, None)
    # the exit of hour 12 counts, the entry of hour 46 does not
    frame = structure(
        with_interest(rows, {1: 1.0, 12: -5.5, 13: 2.0, 46: 50.0}, start=10.0), **ONE_TIER
    )
    assert frame.loc[46, MAGNET].isna().all()
    a, b = 105 * 2 ** (-12 / 24) / 2, 200.0
    assert magnet_at(frame, 47)["magnet_max_share"] == NEAR(b / (2 * (a + b)))
    assert magnet_at(frame, 47)["distance_to_max_liq"] == NEAR(to(110))


def test_the_map_starts_afresh_with_a_segment() -> None:
    rows = with_interest([row(h) for h in range(100)], {1: 1.0, 60: 1.0})
    for one in rows[50:]:
        one |= {"listing_segment": 2}
    rows[60] |= {"vwap_quote": 105.0}
    frame = structure(rows, **ONE_TIER)
    known = frame["magnet_pull"].notna().to_numpy().nonzero()[0].tolist()
    assert known == [47, 48, 49, 97, 98, 99]
    assert magnet_at(frame, 97)["distance_to_max_liq"] == NEAR(to(94.5))


def test_ties() -> None:
    assert strongest({-1: 1.0, 0: 1.0}, 0.0, 1.0) == -1  # equally near
    assert strongest({-1: 1.0, 0: 1.0}, 0.1, 1.0) == 0
    assert strongest({5: 1.0, 0: 1.0 - 1e-10}, 0.0, 1.0) == 0
    assert strongest({5: 1.0, 0: 1.0 - 1e-8}, 0.0, 1.0) == 5


# --- the realised map -----------------------------------------------------------------------


def deaths(n: int, price: float, hour: float, value: float = 1.0) -> Rows:
    return [event(at(hour, minutes=30), price, value) for _ in range(n)]


def test_realised_map_by_hand() -> None:
    # at the end of hour 30 the events at 90 are 24.5 hours old, those at 110 half an hour
    events = deaths(10, 90.0, 6) + deaths(10, 110.0, 30, value=0.25)
    frame = structure([row(h) for h in range(80)], events)
    got = column(frame, "distance_to_max_liq_real")
    assert [isnan(x) for x in got] == [h not in range(30, 78) for h in range(80)]
    assert got[30] == NEAR(to(90))
    share = column(frame, "magnet_real_max_share")
    assert share[30] == NEAR(0.5 / (0.5 + 0.25))
    assert share[77] == NEAR(0.5 / (0.5 + 0.25))


def test_realised_map_needs_twenty_events_of_72_hours() -> None:
    edge = [event(at(0), 90.0)]  # the first instant of the window of hour 71
    late = [event(at(72, ms=-0.001), 110.0) for _ in range(19)]
    frame = structure([row(h) for h in range(74)], edge + late)
    assert frame["magnet_real_max_share"].notna().to_numpy().nonzero()[0].tolist() == [71]
    assert column(frame, "distance_to_max_liq_real")[71] == NEAR(to(110))
    share = 19 / (19 + 2.0**-3)
    assert column(frame, "magnet_real_max_share")[71] == NEAR(share)
    late = [event(at(72), 110.0) for _ in range(19)]
    assert structure([row(h) for h in range(74)], edge + late)["magnet_real_max_share"].isna().all()


def test_realised_map_uses_the_average_price() -> None:
    events = [event(at(1), 80.0, average_price=90.0) for _ in range(20)]
    events += [event(at(1), 80.0, average_price=None, symbol="BBB") for _ in range(20)]
    frame = structure([row(1), row(1, symbol="BBB")], events)
    assert frame["distance_to_max_liq_real"].tolist() == NEAR([to(90), to(80)])


def test_realised_map_ties_go_to_the_nearer_bin() -> None:
    events = deaths(10, 90.0, 1) + deaths(10, 110.0, 1)
    rows = [row(0), row(1, 92.0), row(2, 108.0)]
    got = column(structure(rows, events), "distance_to_max_liq_real")
    assert same(got, [None, to(90, 92), to(110, 108)])


def test_realised_map_of_uncovered_hours_and_hours_without_a_bar() -> None:
    rows = [row(h) for h in range(6)]
    rows[2] |= {"liq_feed_ok": 0.0, "long_liq_volume": None, "short_liq_volume": None}
    rows[4] = row(4, None)
    frame = structure(rows, deaths(20, 90.0, 1) + deaths(50, 110.0, 2))
    assert column(frame, "distance_to_max_liq_real")[3] == NEAR(to(90))
    for name in ("distance_to_max_liq_real", "magnet_real_max_share"):
        assert frame[name].notna().to_numpy().nonzero()[0].tolist() == [1, 3, 5]


def test_realised_map_stays_in_its_segment_and_symbol() -> None:
    rows = [row(h) for h in range(6)]
    for one in rows[3:]:
        one |= {"listing_segment": 2}
    rows += [one | {"symbol": "BBB"} for one in rows]
    frame = structure(rows, deaths(20, 90.0, 1) + deaths(20, 90.0, -5))
    assert frame["magnet_real_max_share"].notna().to_numpy().nonzero()[0].tolist() == [1, 2]


# --- pressure -------------------------------------------------------------------------------


def test_whales_and_the_crowd() -> None:
    money = {"whale_buy_quote": 6.0, "whale_sell_quote": 2.0, "retail_sell_quote": 3.0}
    rows = [
        row(0, **money, whale_imbalance=0.5, retail_imbalance=-0.5, retail_buy_count=3.0),
        row(1, whale_buy_quote=0.0, whale_sell_quote=0.0),
        row(2, retail_buy_quote=0.0, retail_sell_quote=0.0, retail_imbalance=None),
        row(3, retail_buy_count=0.0, retail_sell_count=0.0, whale_buy_quote=None),
    ]
    frame = structure(rows)
    assert same(column(frame, "whale_retail_ratio"), [2, 0, None, None])
    assert same(column(frame, "whale_retail_logratio"), [log(2), None, None, None])
    assert same(column(frame, "whale_retail_divergence"), [1, 0, None, 0])
    assert same(column(frame, "retail_count_imbalance"), [0.5, 0, 0, None])


def test_net_burn() -> None:
    pain = {"long_liq_volume": 30.0, "short_liq_volume": 10.0, "liq_imbalance": -0.5}
    frame = structure([row(0, **pain), row(1, None, **pain), row(2, long_liq_volume=None)])
    assert same(column(frame, "net_burn_volume"), [20, 20, None])
    assert same(column(frame, "net_burn_ratio"), [0.5, 0.5, None])
    assert same(column(frame, "net_burn_over_quote"), [0.02, None, None])


def swinging(**last: Any) -> Rows:
    """126 hours in which everything swings evenly, and one more: z is (units - 0.5) * 1.992."""
    rows: Rows = []
    for h in range(127):
        swing = float(h % 2)
        rows.append(
            row(
                h,
                open=100.0,
                close=100.0 * 2**swing,
                cvd_quote=swing,
                retail_buy_count=swing,
                retail_sell_count=swing,
            )
        )
    rows[126] |= last
    return rows


UNIT = 2 / sqrt(126 / 125)


def test_absorption() -> None:
    flat = [one | {"close": 100.0} for one in swinging(cvd_quote=3.0)]
    cases = [swinging(cvd_quote=3.0, close=50.0), swinging(cvd_quote=None), flat]
    met, unknown, constant = (
        column(f, "absorption_z", f["symbol"][0]) for f in side_by_side(cases)
    )
    assert same(met, [None] * 126 + [4 * UNIT])
    assert isnan(unknown[126])
    assert isnan(constant[126])


def test_frenzy() -> None:
    got = column(structure(swinging(retail_buy_count=7.0)), "retail_buy_count_z_168h")
    assert same(got, [None] * 126 + [2.5 * UNIT])


def flags(name: str, met: dict[str, Any], cases: list[dict[str, Any]]) -> list[float]:
    frames = side_by_side([swinging(**(met | over)) for over in cases])
    assert all(frame[name].iloc[:126].isna().all() for frame in frames)
    return [float(frame[name].iloc[126]) for frame in frames]


def test_distribution() -> None:
    met = {"retail_buy_count": 7.0, "retail_imbalance": 0.1, "whale_imbalance": -0.1}
    cases: list[tuple[dict[str, Any], float | None]] = [
        ({}, 1),
        ({"retail_buy_count": 1.0}, 0),  # z is 0.996
        ({"retail_imbalance": 0.0}, 0),
        ({"whale_imbalance": 0.0}, 0),
        ({"close": 200.0}, 0),  # z of the return is 0.996
        ({"close": 120.0}, 1),
        ({"whale_imbalance": None}, None),
        ({"retail_imbalance": None}, None),
        ({"retail_buy_count": None}, None),
        ({"retail_sell_count": None}, 1),  # no input of this flag
        ({"close": None}, None),
        ({"close": None, "retail_imbalance": -1.0}, None),
    ]
    got = flags("pressure_distribution", met | {"close": 100.0}, [over for over, _ in cases])
    assert same(got, [want for _, want in cases])


def test_accumulation() -> None:
    met = {"retail_sell_count": 7.0, "retail_imbalance": -0.1, "whale_imbalance": 0.1}
    cases: list[tuple[dict[str, Any], float | None]] = [
        ({}, 1),
        ({"retail_sell_count": 1.0}, 0),
        ({"retail_imbalance": 0.0}, 0),
        ({"whale_imbalance": 0.0}, 0),
        ({"close": 100.0}, 0),  # z of the return is -0.996
        ({"close": 125.0}, 1),
        ({"whale_imbalance": None}, None),
        ({"retail_sell_count": None}, None),
        ({"retail_buy_count": None}, 1),
    ]
    got = flags("pressure_accumulation", met | {"close": 200.0}, [over for over, _ in cases])
    assert same(got, [want for _, want in cases])


# --- the whole ------------------------------------------------------------------------------


def random_rows(hours: int) -> tuple[Rows, Rows]:
    rng = np.random.default_rng(5)
    price, level = 100.0, 1000.0
    rows: Rows = []
    events: Rows = []
    for h in range(hours):
        opened, price = price, price * exp(0.02 * rng.normal())
        change = float(rng.normal() * 30)
        level += change
        one = row(h, price, open=opened, vwap_quote=(opened + price) / 2)
        one |= {name: float(rng.integers(0, 50)) for name in FLOW_INPUTS}
        one |= {"high": max(opened, price) * 1.01, "low": min(opened, price) * 0.99}
        one |= {"oi_open_interest": level, "oi_delta": change if h else None}
        one |= {"long_liq_volume": float(rng.exponential()), "short_liq_volume": 1.0 + h % 3}
        rows.append(row(h, None) if rng.random() < 0.05 else one)
        events += [event(at(h, 20), price * exp(0.01 * rng.normal()), 1.0 + h % 5)]
    return rows, events


def test_later_rows_change_no_earlier_one_and_signs_hold() -> None:
    rows, events = random_rows(260)
    whole, part = structure(rows, events), structure(rows[:200], events[:200])
    pd.testing.assert_frame_equal(whole.iloc[:200], part)
    assert np.isfinite(whole[S_COLUMNS].to_numpy()[whole[S_COLUMNS].notna().to_numpy()]).all()
    assert (whole["distance_to_max_liq_up"].dropna() >= 0).all()
    assert (whole["distance_to_max_liq_dn"].dropna() <= 0).all()
    for name in ("magnet_max_share", "magnet_real_max_share"):
        assert whole[name].dropna().between(0, 1).all()
    assert whole["magnet_pull"].dropna().between(-1, 1).all()
    assert (whole[MAGNET].notna().sum() > 150).all()
    shuffled = structure(rows, events[::-1])
    pd.testing.assert_frame_equal(whole, shuffled, rtol=1e-12)


def test_order_of_the_rows_is_kept() -> None:
    rows, events = random_rows(60)
    other = [one | {"symbol": "BBB"} for one in rows]
    frame = structure(other + rows, events + [e | {"symbol": "BBB"} for e in events])
    assert frame["symbol"].tolist() == ["BBB"] * 60 + ["AAA"] * 60
    halves = [frame.iloc[a : a + 60][S_COLUMNS].reset_index(drop=True) for a in (0, 60)]
    pd.testing.assert_frame_equal(halves[0], halves[1])
