"""Family X: further columns of the original's wide table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .common import KEYS, Floats, segments
from .minutes import log_ratio_of, ratio, window_mean

X_COLUMNS = [
    "returns_1h",
    "returns_24h",
    "returns_168h",
    "relative_volume",
    "turnover_ratio",
    "price_efficiency",
    "vol_regime",
    "cs_universe_size",
    "cs_coverage_frac",
]
HORIZONS = (1, 24, 168)
DAY, DAY_LEAST = 24, 18
WEEK, WEEK_LEAST = 168, 126
MIN_CROSS_SECTION = 10


def _returns(close: Floats, n: int) -> Floats:
    """ln(close / close n rows before); hours without a bar have no close."""
    out = np.full(len(close), np.nan)
    for i in range(n, len(close)):
        if not np.isnan(close[i] + close[i - n]):
            out[i] = log_ratio_of(float(close[i]), float(close[i - n]))
    return out


def _true_range(high: Floats, low: Floats, close: Floats) -> Floats:
    out = np.full(len(close), np.nan)
    previous = np.nan
    for i in range(len(close)):
        if np.isnan(close[i]):
            continue
        out[i] = high[i] - low[i]
        if not np.isnan(previous):
            out[i] = max(out[i], abs(high[i] - previous), abs(low[i] - previous))
        previous = close[i]
    return out


def _over_mean(x: Floats, width: int, least: int) -> Floats:
    """The row's own value over the mean of the window that ends with it."""
    return np.array([ratio(x[i], window_mean(x, i, width, least)) for i in range(len(x))])


def family_x(rows: pd.DataFrame, bars: pd.DataFrame, volatility: pd.DataFrame) -> pd.DataFrame:
    """Family X on the spine's rows, from those of families A and E."""
    given = rows[[*KEYS, "has_bar", "listing_segment"]].merge(
        bars[[*KEYS, "high", "low", "close", "quote_volume"]], on=KEYS, how="left"
    )
    given = given.merge(volatility[[*KEYS, "rv_std_sqrt60"]], on=KEYS, how="left")
    given.index = rows.index
    out = pd.DataFrame(np.nan, index=rows.index, columns=X_COLUMNS)
    for _, own in segments(given):
        high, low, close, money, rv = (
            own[name].to_numpy(dtype="float64")
            for name in ("high", "low", "close", "quote_volume", "rv_std_sqrt60")
        )
        part = pd.DataFrame(np.nan, index=own.index, columns=X_COLUMNS)
        for n in HORIZONS:
            part[f"returns_{n}h"] = _returns(close, n)
        part["turnover_ratio"] = _over_mean(money, DAY, DAY_LEAST)
        part["vol_regime"] = _over_mean(rv, WEEK, WEEK_LEAST)
        ranges = _true_range(high, low, close)
        part["price_efficiency"] = [
            ratio(rv[i], window_mean(ranges, i, DAY, DAY_LEAST) / close[i])
            for i in range(len(close))
        ]
        out.loc[own.index] = part
    for _, market in given.groupby("hour_ts"):
        money = market["quote_volume"].to_numpy(dtype="float64")
        known = money[~np.isnan(money)]
        if len(known) >= MIN_CROSS_SECTION:
            mean = float(known.mean())
            out.loc[market.index, "relative_volume"] = [ratio(x, mean) for x in money]
        size = float(market["has_bar"].sum())
        out.loc[market.index, "cs_universe_size"] = size
        out.loc[market.index, "cs_coverage_frac"] = size / len(market)
    return pd.concat([rows[KEYS], out], axis=1)
