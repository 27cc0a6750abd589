"""Families D, E and X on hours that break naive formulas, against the reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tests.build import dbt
from tests.conftest import Warehouse
from tests.lakes import land, minute_bars
from tests.reference import build_all, compare

START = pd.Timestamp("2024-03-04")  # a Monday, a week before New York changes its clocks
HOURS = 36
FAMILIES = {"D": "hourly_momentum", "E": "hourly_volatility", "X": "hourly_context"}

Change = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


def walk(rng: np.random.Generator, price: float = 100.0, step: float = 1e-3) -> pd.DataFrame:
    """A random walk in minutes."""
    n = HOURS * 60
    close = price * np.exp(np.cumsum(rng.normal(0, step, n)))
    opened = np.concatenate([[price], close[:-1]])
    wick = np.exp(np.abs(rng.normal(0, step / 2, (2, n))))
    return pd.DataFrame(
        {
            "open_time": START + pd.to_timedelta(np.arange(n), unit="min"),
            "open": opened,
            "high": np.maximum(opened, close) * wick[0],
            "low": np.minimum(opened, close) / wick[1],
            "close": close,
            "volume": np.exp(rng.normal(3, 1, n)),
        }
    )


def of_hour(bars: pd.DataFrame) -> pd.Series:
    return (bars["open_time"] - START) // pd.Timedelta(hours=1)


def minute(bars: pd.DataFrame) -> pd.Series:
    return bars["open_time"].dt.minute


def constant_price(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return bars.assign(open=7.1, high=7.1, low=7.1, close=7.1)


def constant_hours(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Every other hour stands still at a price that is no round binary number."""
    still = of_hour(bars) % 2 == 0
    for name in ("open", "high", "low", "close"):
        bars.loc[still, name] = 100.1
    return bars


def zero_volume(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    bars.loc[(of_hour(bars) % 3 == 0) | (rng.random(len(bars)) < 0.2), "volume"] = 0.0
    return bars


def one_traded_minute(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return bars.assign(volume=np.where(minute(bars) == of_hour(bars), 5.0, 0.0))


def missing_minutes(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return bars[rng.random(len(bars)) > of_hour(bars) / 100]


def around_45(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """44, 45 and 46 minutes, without the first or without the last."""
    kind = of_hour(bars) % 6
    n = 44 + kind % 3
    return bars[np.where(kind < 3, minute(bars) < n, minute(bars) >= 60 - n)]


def every_other_minute_late(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """46 minutes, of which few are adjacent: too few pairs."""
    return bars[(minute(bars) < 30) | (minute(bars) % 2 == of_hour(bars) % 2)]


def one_minute(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return bars[minute(bars) == 17]


def three_hour_gap(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return bars[~of_hour(bars).isin([10, 11, 12])]


def late_listing(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return bars[bars["open_time"] >= START + pd.Timedelta(minutes=13)]


def jump(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """A +60 % minute, out of the quietest of markets."""
    at = 20 * 60 + 31
    bars.loc[at:, ["open", "high", "low", "close"]] *= 1.6
    bars.loc[at, ["open", "low"]] /= 1.6
    return bars


def equal_volumes(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return bars.assign(volume=3.3, quote_volume=np.where(of_hour(bars) % 2, 330.0, 7.7))


def tied_volumes(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    few = rng.integers(0, 4, len(bars)).astype(float)
    return bars.assign(volume=few, quote_volume=few * 10)


def two_prices(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    close = np.where(rng.random(len(bars)) < 0.5, 0.07134, 0.07135)
    opened = np.concatenate([[0.07134], close[:-1]])
    return bars.assign(
        open=opened, close=close, high=np.maximum(opened, close), low=np.minimum(opened, close)
    )


def ticks(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    close = (7000 + np.cumsum(rng.integers(-2, 3, len(bars)))) / 1e5
    opened = np.concatenate([[0.07], close[:-1]])
    return bars.assign(
        open=opened, close=close, high=np.maximum(opened, close), low=np.minimum(opened, close)
    )


def steady_climb(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Lowest and highest move together, a line without residue."""
    close = 64.0 + np.arange(1, len(bars) + 1) / 64
    return bars.assign(open=close - 1 / 64, low=close - 1 / 64, high=close, close=close)


def whale(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    bars.loc[minute(bars) == of_hour(bars), "volume"] *= 1e9
    return bars


def broken_minutes(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    broken = rng.random(len(bars)) < 0.1
    bars.loc[broken, "high"] = bars["low"] * 0.9
    return bars


def tiny_price(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    for name in ("open", "high", "low", "close"):
        bars[name] *= 1e-9
    return bars.assign(volume=bars["volume"] * 1e9)


def nearly_constant(bars: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """A dear contract that moves by the last digits of its price."""
    close = 60000 + rng.integers(-2, 3, len(bars)) / 10
    opened = np.concatenate([[60000.0], close[:-1]])
    return bars.assign(
        open=opened, close=close, high=np.maximum(opened, close), low=np.minimum(opened, close)
    )


CHANGES: list[Change] = [
    constant_price, constant_hours, zero_volume, one_traded_minute, missing_minutes, around_45,
    every_other_minute_late, one_minute, three_hour_gap, late_listing, jump, equal_volumes,
    tied_volumes, two_prices, ticks, steady_climb, whale, broken_minutes,
    tiny_price, nearly_constant,
]  # fmt: skip


@pytest.fixture(scope="module")
def pathological(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    folder = tmp_path_factory.mktemp("pathological")
    parts = []
    for i, change in enumerate(CHANGES):
        rng = np.random.default_rng(i)
        symbol = change.__name__.replace("_", "").upper() + "USDT"
        parts.append(minute_bars(symbol, change(walk(rng), rng)))
    land(folder / "lake", pd.concat(parts, ignore_index=True))
    dbt(folder / "lake", folder / "w.duckdb", "build", "--exclude-resource-type", "unit_test",
        "--exclude", "path:dbt_project/models/quality")  # fmt: skip
    return Warehouse(folder / "lake", folder / "w.duckdb")


@pytest.fixture(scope="module")
def reference(pathological: Warehouse) -> dict[str, pd.DataFrame]:
    return build_all(pathological.inputs(), label_change=None)


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_the_reference(
    pathological: Warehouse, reference: dict[str, pd.DataFrame], family: str
):
    actual = pathological.read(FAMILIES[family])
    for symbol, expected in (
        reference["T"].merge(reference[family], on=["symbol", "hour_ts"]).groupby("symbol")
    ):  # contract by contract: a column's scale is that of its contract
        differences = compare(expected, actual[actual["symbol"] == symbol], extra_columns=False)
        assert not differences, f"{symbol}: " + "\n".join(str(d) for d in differences)


def test_a_constant_price_has_no_trend_to_speak_of(pathological: Warehouse):
    rows = pathological.read("select * from final_dataset where symbol = 'CONSTANTPRICEUSDT'")
    assert (rows["qrs_beta_close_per_hour"] == 0).all()
    assert (rows["rv_std_sqrt60"] == 0).all()
    assert (
        rows[["qrs_r2_close", "qrs_close", "qrs_hl_beta", "shape_skew", "corr_pv"]]
        .isna()
        .all(axis=None)
    )


def test_one_minute_says_nothing_about_an_hour(pathological: Warehouse):
    rows = pathological.read("select * from final_dataset where symbol = 'ONEMINUTEUSDT'")
    assert (rows["n_minutes"] == 1).all()
    assert rows[["rv_l2", "seg_head_logret", "amihud_abs", "doc_std"]].isna().all(axis=None)
    assert rows["is_funding_hour"].notna().all()
