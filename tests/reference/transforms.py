"""Family G: hourly columns against their own recent past."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from .common import KEYS, Floats, segments

DAY, DAY_LEAST = 24, 18
WEEK, WEEK_LEAST = 168, 126
RECENT, RECENT_LEAST = 6, 5
HALF_LIFE = 6
DECAY_ROWS = 61  # ages 0 to 60
COVERED_SHARE = 0.75
NORMAL_MAD = 1.4826


def plain(x: Floats) -> Floats:
    return x


def ln(x: Floats) -> Floats:
    """NULL for what has no logarithm."""
    return np.asarray(np.log(np.where(x > 0, x, np.nan)))


def ln_1p(x: Floats) -> Floats:
    return ln(1 + x)


def frames(x: Floats, oldest: int, youngest: int) -> Floats:
    """For each row i the rows i-oldest to i-youngest of x, NaN before the first row."""
    padded = np.concatenate([np.full(oldest, np.nan), x])
    width = oldest - youngest + 1
    return np.lib.stride_tricks.sliding_window_view(padded, width)[: len(x)]


def counted(w: Floats) -> Floats:
    return np.asarray(np.sum(~np.isnan(w), axis=1), dtype="float64")


def total(w: Floats) -> Floats:
    return np.asarray(np.nansum(w, axis=1), dtype="float64")


def mean(w: Floats) -> Floats:
    return total(w) / counted(w)


def deviations(x: Floats, w: Floats) -> Floats:
    """Each row of x less the mean of the same row of w.

    The rounding of a mean is large beside small deviations, so it is taken out in a second pass.
    """
    rough = mean(w)[:, None]
    return (x - rough) - mean(w - rough)[:, None]


def sample_std(w: Floats) -> Floats:
    return np.asarray(np.sqrt(total(deviations(w, w) ** 2) / (counted(w) - 1)))


def usable(w: Floats, least: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Frames with enough values that are not all the same."""
    varied = np.fmin.reduce(w, axis=1) < np.fmax.reduce(w, axis=1)
    return np.asarray((counted(w) >= least) & varied)


def z(x: Floats, window: int, least: int) -> Floats:
    """Distance from the mean of the rows before, in their sample standard deviations."""
    w = frames(x, window, 1)
    distance = deviations(x[:, None], w)[:, 0]
    return np.where(usable(w, least), distance / sample_std(w), np.nan)


def median(w: Floats) -> Floats:
    out = np.full(len(w), np.nan)
    for i, row in enumerate(w):
        known = row[~np.isnan(row)]
        if len(known):
            out[i] = np.median(known)
    return out


def robust_z(x: Floats) -> Floats:
    w = frames(x, WEEK, 1)
    middle = median(w)
    mad = median(np.abs(w - middle[:, None]))
    known = (counted(w) >= WEEK_LEAST) & (mad > 0)
    return np.where(known, (x - middle) / (NORMAL_MAD * mad), np.nan)


def rank(x: Floats) -> Floats:
    """Share of the other values of the week that are smaller."""
    w = frames(x, WEEK - 1, 0)
    smaller = np.sum(w < x[:, None], axis=1)
    known = (counted(w) >= WEEK_LEAST) & ~np.isnan(x)
    return np.where(known, smaller / (counted(w) - 1), np.nan)


def skew(x: Floats) -> Floats:
    """G1, as pandas has it."""
    w = frames(x, WEEK - 1, 0)
    n, d = counted(w), deviations(w, w)
    m2, m3 = total(d**2) / n, total(d**3) / n
    g1 = m3 / m2**1.5
    return np.where(usable(w, WEEK_LEAST), g1 * np.sqrt(n * (n - 1)) / (n - 2), np.nan)


def kurt(x: Floats) -> Floats:
    """G2, as pandas has it."""
    w = frames(x, WEEK - 1, 0)
    n, d = counted(w), deviations(w, w)
    m2, m4 = total(d**2) / n, total(d**4) / n
    g2 = m4 / m2**2 - 3
    scaled = ((n + 1) * g2 + 6) * (n - 1) / ((n - 2) * (n - 3))
    return np.where(usable(w, WEEK_LEAST), scaled, np.nan)


def decayed(x: Floats) -> tuple[Floats, Floats]:
    """Decayed sum, and the weight of the rows it is made of; NULL with too little of it."""
    w = frames(x, DECAY_ROWS - 1, 0)
    ages = np.arange(DECAY_ROWS - 1, -1, -1)
    weights = 2.0 ** (-ages / HALF_LIFE)
    covered = total(np.where(np.isnan(w), 0.0, weights))
    known = covered >= COVERED_SHARE * weights.sum()
    return np.where(known, total(w * weights), np.nan), np.where(known, covered, np.nan)


def ewm(x: Floats) -> Floats:
    events, covered = decayed(x)
    return events / covered


def mem(x: Floats) -> Floats:
    return decayed(x)[0]


def signal_to_noise(x: Floats) -> Floats:
    """The last six rows against the week that ended before them."""
    now, base = frames(x, RECENT - 1, 0), frames(x, RECENT + WEEK - 1, RECENT)
    known = (counted(now) >= RECENT_LEAST) & usable(base, WEEK_LEAST)
    distance = mean(deviations(now, base))
    return np.where(known, distance / sample_std(base), np.nan)


Transform = Callable[[Floats], Floats]
TRANSFORMS: dict[str, Transform] = {
    "z24": lambda x: z(x, DAY, DAY_LEAST),
    "z168": lambda x: z(x, WEEK, WEEK_LEAST),
    "rz168": robust_z,
    "rank168": rank,
    "skew168": skew,
    "kurt168": kurt,
    "ewm6": ewm,
    "mem6": mem,
    "snr": signal_to_noise,
}

# per group of 10.1: the base factors, what is done to them first, the transforms
MATRIX: list[tuple[Sequence[str], Transform, Sequence[str]]] = [
    (
        [
            "cvd_quote",
            "whale_cvd_quote",
            "retail_cvd_quote",
            "tw_cvd_quote_norm",
            "net_burn_volume",
            "oi_flow_usd",
        ],
        plain,
        ["z24", "z168", "rank168", "skew168", "snr"],
    ),
    (
        ["long_liq_volume", "short_liq_volume", "quote_volume", "avg_trade_quote"],
        ln_1p,
        ["z24", "z168", "rank168", "mem6"],
    ),
    (
        ["rv_l2", "liq_amihud", "vol_1m_cv", "oi_turnover", "whale_retail_ratio"],
        ln,
        ["z168", "rank168", "snr"],
    ),
    (
        [
            "funding_annualized",
            "triad_basis",
            "triad_premium_twap",
            "toptrader_position_long_share",
            "global_account_long_share",
            "smart_dumb_spread",
        ],
        plain,
        ["z24", "z168", "rz168", "rank168"],
    ),
    (
        [
            "imbalance_quote",
            "whale_imbalance",
            "retail_imbalance",
            "whale_retail_divergence",
            "liq_imbalance",
            "up_var_share",
        ],
        plain,
        ["ewm6", "z168"],
    ),
    (["returns_1h"], plain, ["z24", "z168", "skew168", "kurt168"]),
    (["distance_to_max_liq", "magnet_pull"], plain, ["ewm6", "rank168"]),
]
G_BASES = [base for bases, _, _ in MATRIX for base in bases]
G_COLUMNS = [f"g_{name}_{base}" for bases, _, names in MATRIX for base in bases for name in names]


def family_g(frame: pd.DataFrame) -> pd.DataFrame:
    """Family G on the rows of the wide table, which holds every base factor of the matrix."""
    given = frame[[*KEYS, "listing_segment", *G_BASES]].reset_index(drop=True)
    out = pd.DataFrame(np.nan, index=given.index, columns=G_COLUMNS)
    for _, own in segments(given.sort_values(KEYS)):
        part: dict[str, Floats] = {}
        with np.errstate(divide="ignore", invalid="ignore"):
            for bases, first, names in MATRIX:
                for base in bases:
                    x = first(own[base].to_numpy(dtype="float64", na_value=np.nan))
                    part |= {f"g_{name}_{base}": TRANSFORMS[name](x) for name in names}
        values = pd.DataFrame(part, index=own.index)
        out.loc[own.index] = values.where(np.isfinite(values))
    return pd.concat([given[KEYS], out], axis=1).set_axis(frame.index)
