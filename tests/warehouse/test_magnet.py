"""The estimated map of standing liquidations on hours small enough to work out by hand."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ingest.config import PROJECT_ROOT

# Bins a tenth wide. From an entry at 1 the levels of the first tier are 0.5 and 1.5, in bins -7 and
# 4, with centres at -0.65 and 0.45; those of the second are 0.75 and 1.25, in bins -3 and 2, with
# centres at -0.25 and 0.25.
WIDTH = 0.1
TIERS = [(2.0, 0.75, 0.0), (4.0, 0.25, 0.0)]
HALF_LIFE = 1.0  # hours
MEASURES = ("distance", "up", "dn", "share", "pull")
NOTHING = (None,) * len(MEASURES)

Hour = dict[str, Any]


@pytest.fixture(scope="module")
def magnet() -> ModuleType:
    path = PROJECT_ROOT / "dbt_project/models/intermediate/int_magnet_hourly.py"
    spec = importlib.util.spec_from_file_location("int_magnet_hourly", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bar(open_interest: float | None, **prices: float) -> Hour:
    flat = {"high": 1.0, "low": 1.0, "close": 1.0, "entry_price": 1.0}
    return flat | prices | {"open_interest": open_interest}


def no_bar(open_interest: float | None) -> Hour:
    return {"open_interest": open_interest}


def batch(hours: list[Hour], first: int = 0) -> pa.RecordBatch:
    columns = {
        "symbol": pa.array([h.get("symbol", "X") for h in hours]),
        "hour_ts": pa.array(
            [(first + n) * 3_600_000_000 for n in range(len(hours))], pa.timestamp("us")
        ),
        "listing_segment": pa.array([h.get("segment", 1) for h in hours], pa.int32()),
    }
    for name in ("high", "low", "close", "entry_price", "open_interest"):
        columns[name] = pa.array([h.get(name) for h in hours], pa.float64())
    return pa.record_batch(columns)


def measured(
    magnet: ModuleType, batches: Iterable[pa.RecordBatch], tiers: list[Any] = TIERS
) -> list[tuple[float | None, ...]]:
    done = pa.Table.from_batches(magnet.magnet(batches, tiers, WIDTH, HALF_LIFE, {}))
    return list(zip(*(done[name].to_pylist() for name in magnet.MEASURES), strict=True))


def pull(above: dict[float, float], below: dict[float, float]) -> float:
    """Net pull of masses by distance."""
    up = sum(mass * math.exp(-distance / 0.03) for distance, mass in above.items())
    down = sum(mass * math.exp(-distance / 0.03) for distance, mass in below.items())
    return (up - down) / (up + down)


QUIET = [bar(100.0)] * 48  # hours of fresh open interest, in which nobody comes or goes


def test_new_contracts_stand_on_both_sides(magnet: ModuleType):
    *_, before, after = measured(magnet, [batch([*QUIET, bar(110.0)])])
    assert before == NOTHING  # nothing stands
    # 10 at either side, 7.5 of them in bins -7 and 4, of which 4 is nearer
    assert after == pytest.approx(
        (0.45, 0.45, -0.65, 7.5 / 20, pull({0.25: 2.5, 0.45: 7.5}, {0.25: 2.5, 0.65: 7.5}))
    )


def test_of_two_equally_near_the_lower_counts(magnet: ModuleType):
    (*_, last) = measured(magnet, [batch([*QUIET, bar(110.0)])], [(4.0, 1.0, 0.0)])
    assert last == pytest.approx((-0.25, 0.25, -0.25, 0.5, 0.0))


def test_masses_within_a_thousand_millionth_are_as_large(magnet: ModuleType):
    # shorts in bins 2 and 4, longs in bins -3 and -7, where the first tier has a little more
    for less, expected in ((1e-10, 0.25), (1e-8, 0.45)):
        tiers = [(2.0, 0.5, 0.0), (4.0, 0.5 * (1 - less), 0.0)]
        # the hour fell to bin -8, so the longs' levels are crossed
        last = measured(magnet, [batch([*QUIET, bar(110.0, low=0.45)])], tiers)[-1]
        assert last[:3] == pytest.approx((expected, expected, None))


def test_decay_exits_and_sweeps(magnet: ModuleType):
    hours = [
        *QUIET,
        bar(110.0),  # 7.5 and 2.5 at either side
        no_bar(55.0),  # half of them decay, half of the rest leave
        bar(None, low=math.exp(-0.35)),  # bin -4: the longs in bin -3 are gone
        bar(60.0),  # nothing to compare with: nobody enters
        bar(60.0, high=math.exp(0.45)),  # bin 4: no short is left
        bar(60.0, low=math.exp(-0.65), close=math.exp(-0.1)),  # bin -7: nothing is left
    ]
    result = measured(magnet, [batch(hours)])[49:]
    assert result[0] == NOTHING
    left = pull({0.25: 2.5, 0.45: 7.5}, {0.65: 7.5})
    assert result[1] == pytest.approx((0.45, 0.45, -0.65, 7.5 / 17.5, left))
    assert result[2] == pytest.approx(result[1])
    assert result[3] == pytest.approx((-0.65, None, -0.65, 1.0, -1.0))
    assert result[4] == NOTHING


def test_later_entries_are_not_decayed_with_those_before(magnet: ModuleType):
    hours = [*QUIET, bar(110.0), bar(55.0), bar(65.0, entry_price=1.1)]
    # Of 10 at either side 1.25 are left after decay, exits and decay. The new 11, of which 8.25 and
    # 2.75, are in bins 5 and 3 above, and in bins -6 and -2 below.
    share = 8.25 / (2 * 12.25)
    above = {0.25: 0.3125, 0.35: 2.75, 0.45: 0.9375, 0.55: 8.25}
    below = {0.15: 2.75, 0.25: 0.3125, 0.55: 8.25, 0.65: 0.9375}
    last = measured(magnet, [batch(hours)])[-1]
    assert last == pytest.approx((-0.55, 0.55, -0.55, share, pull(above, below)))


def test_levels_that_the_hour_crossed_take_nobody(magnet: ModuleType):
    hours = [*QUIET, bar(110.0, low=math.exp(-0.21), high=math.exp(0.19))]
    # the low is in bin -3, as the second tier's longs; the high is below their shorts in bin 2
    last = measured(magnet, [batch(hours)])[-1]
    share = 7.5 / 17.5
    assert last == pytest.approx(
        (0.45, 0.45, -0.65, share, pull({0.25: 2.5, 0.45: 7.5}, {0.65: 7.5}))
    )


def test_no_price_no_entry(magnet: ModuleType):
    hours = [*QUIET, bar(110.0) | {"entry_price": None}]
    assert measured(magnet, [batch(hours)])[-1] == NOTHING


def test_48_fresh_hours_of_the_same_listing(magnet: ModuleType):
    stale = [bar(100.0), bar(110.0), *[bar(None)] * 5, *[bar(110.0)] * 46]
    result = measured(magnet, [batch([*stale, bar(110.0) | {"segment": 2}])])
    assert [row == NOTHING for row in result] == [True] * 52 + [False, True]
    # another contract begins with an empty map and without a past
    two = [*QUIET, bar(110.0)] + [h | {"symbol": "Y"} for h in QUIET]
    assert measured(magnet, [batch(two)])[-1] == NOTHING


def test_old_masses_outlast_the_scale(magnet: ModuleType):
    hours = [*QUIET, bar(110.0), *[bar(110.0)] * 900]
    last = measured(magnet, [batch(hours)])[-1]  # 2^-900 is left
    assert last[:4] == pytest.approx((0.45, 0.45, -0.65, 0.375))


def test_a_row_needs_neither_later_rows_nor_whole_batches(magnet: ModuleType):
    random = np.random.default_rng(6)
    n = 400
    close = np.exp(np.cumsum(random.normal(0, 0.05, n)))
    low, high = close * np.exp(-random.random(n) / 10), close * np.exp(random.random(n) / 10)
    interest = 100 * np.exp(np.cumsum(random.normal(0, 0.05, n)))
    hours = [
        no_bar(interest[i])
        if i % 37 == 5
        else bar(
            None if i % 41 == 7 else interest[i],
            low=low[i], high=high[i], close=close[i], entry_price=(low[i] + high[i]) / 2,
        )
        for i in range(n)
    ]  # fmt: skip
    whole = measured(magnet, [batch(hours)])
    assert sum(row != NOTHING for row in whole) > 300
    pieces = [batch(hours[i : i + 29], i) for i in range(0, n, 29)]
    assert measured(magnet, [batch([]), *pieces]) == whole
    assert measured(magnet, [batch(hours[:250])]) == whole[:250]


def test_a_month_goes_on_from_the_map_that_the_one_before_kept(magnet: ModuleType):
    """To the last bit, as if there had been no turn of the month."""
    random = np.random.default_rng(7)
    first, turn = 744 - 100, 100  # January 1970 has 744 hours
    log_prices = np.cumsum(random.normal(0, 0.05, 200))
    hours = []
    for n, log_price in enumerate(log_prices):
        price = math.exp(log_price)
        fresh = None if n % 17 == 0 else float(random.uniform(50, 150))
        prices = {"high": 1.1 * price, "low": 0.9 * price, "close": price, "entry_price": price}
        hours.append(no_bar(fresh) if n % 13 == 0 else bar(fresh, **prices))

    def table(maps: dict[Any, Any], start: int) -> pa.Table:
        batches = [batch(hours[start:], first + start)]
        return pa.Table.from_batches(magnet.magnet(batches, TIERS, WIDTH, HALF_LIFE, maps))

    whole = table({}, 0)
    kept = [n for n, x in enumerate(whole["map"].to_pylist()) if x is not None]
    assert kept == [turn - 1]
    maps = {("X", 1): whole["map"][turn - 1].as_py()}
    assert table(maps, turn) == whole.slice(turn).combine_chunks()
    assert table({}, turn) != whole.slice(turn).combine_chunks()
