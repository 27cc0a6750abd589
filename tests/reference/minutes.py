"""What families D and E share: the valid minutes of every symbol-hour, and careful statistics."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from .bars import valid_candles
from .common import MINUTE, Floats, Inputs

Ints = npt.NDArray[np.int64]
MIN_MINUTES = 45
MIN_PAIRS = 40


@dataclass(frozen=True)
class Hour:
    """The valid minutes of one symbol-hour: index in the hour, candle, log return."""

    m: Ints
    o: Floats
    h: Floats
    l: Floats  # noqa: E741
    c: Floats
    v: Floats
    q: Floats
    r: Floats

    @property
    def full(self) -> bool:
        """Enough minutes for statistics."""
        return len(self.m) >= MIN_MINUTES


Hours = dict[tuple[str, np.datetime64], Hour]


def minute_hours(inputs: Inputs) -> Hours:
    """Every symbol-hour with at least one valid minute."""
    table = valid_candles(inputs, "klines_1m")
    symbols = table["symbol"].to_numpy()
    starts = table["hour_ts"].to_numpy().astype("datetime64[us]")
    minute = (table["open_time"].to_numpy().astype("datetime64[us]") - starts) // MINUTE
    o, h, low, c, v, q = (
        table[name].to_numpy(dtype="float64")
        for name in ("open", "high", "low", "close", "volume", "quote_volume")
    )
    new = np.flatnonzero((starts[1:] != starts[:-1]) | (symbols[1:] != symbols[:-1])) + 1
    edges = [0, *new.tolist(), len(table)] if len(table) else []
    out: Hours = {}
    for a, b in pairwise(edges):
        before = np.concatenate([o[a : a + 1], c[a : b - 1]])
        out[str(symbols[a]), starts[a]] = Hour(
            m=minute[a:b].astype("int64"),
            o=o[a:b],
            h=h[a:b],
            l=low[a:b],
            c=c[a:b],
            v=v[a:b],
            q=q[a:b],
            r=log_ratio(c[a:b], before),
        )
    return out


def log_ratio(a: Floats, b: Floats) -> Floats:
    """ln(a/b) for positive numbers, exact to the last digits also where a is close to b."""
    change = (a - b) / b
    near = np.abs(change) < 0.5
    out: Floats = np.where(near, np.log1p(np.where(near, change, 0.0)), np.log(a / b))
    return out


def log_ratio_of(a: float, b: float) -> float:
    return float(log_ratio(np.array([a]), np.array([b]))[0])


def constant(x: Floats) -> bool:
    return bool(x.min() == x.max())


def centred(x: Floats) -> Floats:
    """Deviations from the mean, exact zeros for a constant."""
    if constant(x):
        return np.zeros(len(x))
    d = x - x.mean()
    out: Floats = d - d.mean()
    return out


def std(x: Floats) -> float:
    """Population standard deviation."""
    d = centred(x)
    return float(np.sqrt(np.mean(d * d)))


def skew_kurt(x: Floats, weights: Floats | None = None) -> tuple[float, float]:
    """Population skew and excess kurtosis, NULL for a constant."""
    if constant(x):
        return np.nan, np.nan
    if weights is None:
        weights = np.ones(len(x))
    w = weights / weights.sum()
    d = centred(x)
    d = d - np.sum(w * d)
    d = d / np.abs(d).max()
    m2, m3, m4 = (float(np.sum(w * d**k)) for k in (2, 3, 4))
    return m3 / m2**1.5, m4 / m2**2 - 3


def line(x: Floats, y: Floats) -> tuple[float, float]:
    """OLS slope and R²; a constant y has slope 0 and no R², a constant x neither."""
    if constant(x):
        return np.nan, np.nan
    dx, dy = centred(x), centred(y)
    sxx, sxy, syy = float(dx @ dx), float(dx @ dy), float(dy @ dy)
    if constant(y):
        return 0.0, np.nan
    return sxy / sxx, sxy * sxy / (sxx * syy)


def correlation(x: Floats, y: Floats) -> float:
    """Pearson's correlation over enough pairs, NULL if a side is constant."""
    if len(x) < MIN_PAIRS or constant(x) or constant(y):
        return np.nan
    dx, dy = centred(x), centred(y)
    value = float(dx @ dy) / float(np.sqrt(dx @ dx) * np.sqrt(dy @ dy))
    return min(1.0, max(-1.0, value))


def ratio(a: float, b: float) -> float:
    """a / b, NULL where b is zero."""
    return a / b if b != 0 else np.nan


def window_mean(x: Floats, i: int, width: int, least: int) -> float:
    """Mean of the known values in rows i-width+1 .. i, if there are enough of them."""
    part = x[max(0, i - width + 1) : i + 1]
    part = part[~np.isnan(part)]
    return float(part.mean()) if len(part) >= least else np.nan
