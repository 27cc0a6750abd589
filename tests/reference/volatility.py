"""Family E: volatility, shape, price against volume, liquidity, volume over return levels."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .common import HOUR, KEYS, Floats, Inputs, by_symbol, segments
from .funding import segment_settlements, settlements
from .minutes import (
    Hour,
    Hours,
    constant,
    correlation,
    log_ratio,
    minute_hours,
    ratio,
    skew_kurt,
    std,
    window_mean,
)

PERCENTS = (60, 70, 80, 90, 95)
TOP_GROUPS = (5, 10, 50)
E_COLUMNS = [
    "vol_1m_mean",
    "vol_1m_std",
    "vol_1m_cv",
    "range_ratio_1m_std",
    "log_range_1m_std",
    "min_range_ratio_max",
    "up_vol_l2",
    "down_vol_l2",
    "up_var_share",
    "down_var_share",
    "rv_std_sqrt60",
    "rv_l2",
    "rv_per_vol",
    "rv_stability_24h",
    "shape_skew",
    "shape_kurt",
    "shape_skratio",
    "shape_skewVol",
    "shape_kurtVol",
    "shape_skratioVol",
    "corr_prv",
    "corr_prvr",
    "corr_pv",
    "corr_pvd",
    "corr_pvl",
    "corr_pvr",
    "liq_amihud",
    "liq_last_5min_R",
    "liq_funding_impact",
    "liq_funding_window_share",
    "liq_top_of_hour_ratio",
    "is_funding_hour",
    "liq_range_vol_ratio",
    "liq_spread_std",
    "liq_tail_risk",
    "liq_tail_var_share",
    *(f"doc_vol_pdf{p}" for p in PERCENTS),
    "doc_vol_pdf90bi",
    "doc_std",
    "doc_skew",
    "doc_kurt",
    *(f"doc_vol{k}_ratio" for k in TOP_GROUPS),
    "doc_wstd",
    "doc_wskew",
    "doc_wkurt",
]
DAY = 24
DAY_LEAST = 18
BINS = 25
FUNDING_HOURS = (0, 8, 16)


def _volatility(x: Hour) -> dict[str, float]:
    width = (x.h - x.l) / x.l  # h/l less 1: the same dispersion, fewer lost digits
    mean, spread = float(x.v.mean()), std(x.v)
    squares = x.r * x.r
    up, down = float(squares[x.r > 0].sum()), float(squares[x.r < 0].sum())
    rv = std(x.r) * 60**0.5
    return {
        "vol_1m_mean": mean,
        "vol_1m_std": spread,
        "vol_1m_cv": ratio(spread, mean),
        "range_ratio_1m_std": std(width),
        "log_range_1m_std": std(log_ratio(x.h, x.l)),
        "min_range_ratio_max": float((x.h / x.l).max()),
        "up_vol_l2": up**0.5,
        "down_vol_l2": down**0.5,
        "up_var_share": ratio(up, up + down),
        "down_var_share": ratio(down, up + down),
        "rv_std_sqrt60": rv,
        "rv_l2": float(squares.sum()) ** 0.5,
        "rv_per_vol": ratio(rv, float(x.q.mean()) / 1e6),
    }


def _shape_of(x: Floats, suffix: str) -> dict[str, float]:
    """Bias-corrected skew and excess kurtosis, and the population ratio of the two."""
    n = len(x)
    g1, g2 = skew_kurt(x)
    return {
        f"shape_skew{suffix}": g1 * (n * (n - 1)) ** 0.5 / (n - 2),
        f"shape_kurt{suffix}": (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * g2 + 6),
        f"shape_skratio{suffix}": g1 / (g2 + 3),
    }


def _shape(x: Hour) -> dict[str, float]:
    out = _shape_of(x.r, "")
    if x.v.sum() > 0 and not constant(x.v):
        out |= _shape_of(x.v / x.v.sum(), "Vol")
    return out


def _correlations(x: Hour) -> dict[str, float]:
    # now[i] and before[i] are places of minutes m and m-1, both present
    now = np.flatnonzero(np.diff(x.m) == 1) + 1
    before = now - 1
    grown = now[x.v[now - 1] > 0]
    dv = np.clip(x.v[grown] / x.v[grown - 1] - 1, -1, 10)
    return {
        "corr_prv": correlation(x.r, x.v),
        "corr_prvr": correlation(x.r[grown], dv),
        "corr_pv": correlation(x.c, x.v),
        "corr_pvd": correlation(x.c[now], x.v[before]),
        "corr_pvl": correlation(x.c[before], x.v[now]),
        "corr_pvr": correlation(x.c[grown], dv),
    }


def _liquidity(x: Hour) -> dict[str, float]:
    total = float(x.v.sum())
    first5, last5 = float(x.v[x.m < 5].sum()), float(x.v[x.m >= 55].sum())
    spread = (x.h - x.l) / x.c
    squares = x.r * x.r
    tail = ratio(float(squares[x.m >= 50].sum()), float(squares.sum()))
    out = {
        "liq_last_5min_R": ratio(last5, total),
        "liq_funding_impact": ratio(first5 + last5, total),
        "liq_top_of_hour_ratio": ratio(float(x.v[x.m < 10].sum()), total),
        "liq_spread_std": std(spread),
        "liq_tail_risk": tail**0.5,
        "liq_tail_var_share": tail,
    }
    paid = x.q > 0
    if paid.any():
        out["liq_amihud"] = 1e6 * float(np.mean(np.abs(x.r[paid]) / x.q[paid]))
        out["liq_range_vol_ratio"] = 1e6 * float(np.mean(spread[paid] / x.q[paid]))
    return out


def weighted_quantile(x: Floats, weights: Floats, p: float) -> float:
    """The smallest x at which the weights up to and including it reach the share p."""
    order = np.argsort(x, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum() >= p - 1e-12
    return float(x[order[np.argmax(reached)]])


def _chips(x: Hour) -> dict[str, float]:
    traded = x.v > 0
    r, v = x.r[traded], x.v[traded]
    if not len(r) or constant(r):
        return {}
    total = v.sum()
    out = {f"doc_vol_pdf{p}": weighted_quantile(r, v, p / 100) for p in PERCENTS}
    out["doc_vol_pdf90bi"] = weighted_quantile(np.abs(r), v, 0.9)

    # a return within 1e-9 of an edge belongs above it: ticks put many exactly there
    place = np.floor(BINS * (r - r.min()) / (r.max() - r.min()) + 1e-9).astype("int64")
    shares = np.zeros(BINS)
    np.add.at(shares, np.minimum(place, BINS - 1), v / total)
    out["doc_std"] = std(shares)
    out["doc_skew"], out["doc_kurt"] = skew_kurt(shares)

    _, group = np.unique(np.rint(r * 1e8), return_inverse=True)
    levels = np.zeros(group.max() + 1)
    np.add.at(levels, group, v)
    levels = np.sort(levels)[::-1]
    for k in TOP_GROUPS:
        out[f"doc_vol{k}_ratio"] = float(levels[:k].sum() / total)

    w = v / total
    d = r - np.sum(w * r)
    d = d - np.sum(w * d)
    out["doc_wstd"] = float(np.sqrt(np.sum(w * d * d)))
    out["doc_wskew"], out["doc_wkurt"] = skew_kurt(r, v)
    return out


def hour_volatility(x: Hour) -> dict[str, float]:
    """The columns that need nothing but the hour itself."""
    if not x.full:
        return {}
    return _volatility(x) | _shape(x) | _correlations(x) | _liquidity(x) | _chips(x)


def _window_share(before: Hour | None, now: Hour | None) -> float:
    """Volume of the ten minutes around the turn of the hour, of that of both hours."""
    if before is None or now is None or not before.full or not now.full:
        return np.nan
    edge = before.v[before.m >= 55].sum() + now.v[now.m < 5].sum()
    return ratio(float(edge), float(before.v.sum() + now.v.sum()))


def family_e(inputs: Inputs, rows: pd.DataFrame, hours: Hours | None = None) -> pd.DataFrame:
    """Family E on the spine's rows."""
    if hours is None:
        hours = minute_hours(inputs)
    events = by_symbol(settlements(inputs))
    out = pd.DataFrame(np.nan, index=rows.index, columns=E_COLUMNS)
    for symbol, segment in segments(rows):
        stamps = segment["hour_ts"].to_numpy().astype("datetime64[us]")
        own = [hours.get((symbol, stamp)) for stamp in stamps]
        records = [hour_volatility(x) if x else {} for x in own]
        part = pd.DataFrame(records, index=segment.index, columns=E_COLUMNS).astype("float64")

        rv = part["rv_std_sqrt60"].to_numpy()
        part["rv_stability_24h"] = [
            ratio(rv[i], window_mean(rv, i, DAY, DAY_LEAST)) for i in range(len(rv))
        ]

        seen = segment_settlements(events[symbol], stamps[0]) if symbol in events else []
        times = {s.time for s in seen}
        first = min(times, default=stamps[-1] + HOUR)
        share = np.full(len(stamps), np.nan)
        payment = np.zeros(len(stamps))
        for i, hour in enumerate(stamps):
            settled = hour in times
            if first <= hour:
                payment[i] = settled
            else:
                payment[i] = pd.Timestamp(hour).hour in FUNDING_HOURS
            if settled and i:
                share[i] = _window_share(own[i - 1], own[i])
        part["liq_funding_window_share"] = share
        part["is_funding_hour"] = payment
        out.loc[segment.index] = part
    return pd.concat([rows[KEYS], out], axis=1)
