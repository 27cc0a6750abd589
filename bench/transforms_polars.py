"""Family G in polars, as its users write it, and with numpy what polars does not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from polars import col

DAY, WEEK, RECENT = 24, 168, 6
LEAST = {DAY: 18, WEEK: 126, RECENT: 5}
HALF_LIFE = 6
DECAY = 2.0 ** (-np.arange(61) / HALF_LIFE)
ROWS = 50_000  # at once, of which numpy has all windows in memory
KEYS = ("symbol", "listing_segment")


def z(x: pl.Expr, rows: int) -> pl.Expr:
    before = x.shift(1)
    mean = before.rolling_mean(rows, min_samples=LEAST[rows])
    return _divided(x - mean, before.rolling_std(rows, min_samples=LEAST[rows]))


def rank(x: pl.Expr, rows: int) -> pl.Expr:
    others = x.is_not_null().cast(pl.Float64).rolling_sum(rows, min_samples=1) - 1
    rank = x.rolling_rank(rows, method="min", min_samples=LEAST[rows])
    return pl.when(x.is_not_null()).then((rank.cast(pl.Float64) - 1) / others)


def skew(x: pl.Expr, rows: int) -> pl.Expr:
    return x.rolling_skew(rows, bias=False, min_samples=LEAST[rows])


def kurt(x: pl.Expr, rows: int) -> pl.Expr:
    return x.rolling_kurtosis(rows, fisher=True, bias=False, min_samples=LEAST[rows])


def snr(x: pl.Expr, rows: int) -> pl.Expr:
    base = x.shift(RECENT)
    mean = base.rolling_mean(rows, min_samples=LEAST[rows])
    now = x.rolling_mean(RECENT, min_samples=LEAST[RECENT])
    return _divided(now - mean, base.rolling_std(rows, min_samples=LEAST[rows]))


def mem(x: pl.Expr) -> pl.Expr:
    return x.map_batches(_decayed, return_dtype=pl.Float64)


def ewm(x: pl.Expr) -> pl.Expr:
    return x.map_batches(lambda s: _decayed(s, average=True), return_dtype=pl.Float64)


def rz(x: pl.Expr, rows: int) -> pl.Expr:
    before = x.shift(1)
    median = before.rolling_median(rows, min_samples=LEAST[rows])
    mad = before.map_batches(lambda s: _mad(s, rows), return_dtype=pl.Float64)
    return _divided(x - median, 1.4826 * mad)


def _divided(x: pl.Expr, y: pl.Expr) -> pl.Expr:
    return pl.when(y > 0).then(x / y)


def _decayed(x: pl.Series, *, average: bool = False) -> pl.Series:
    """Decayed sum, or average; null with too little weight of rows that have a value."""
    weight = np.convolve(x.is_not_null().cast(pl.Float64).to_numpy(), DECAY)[: len(x)]
    total = np.convolve(x.fill_null(0.0).to_numpy(), DECAY)[: len(x)]
    known = np.where(weight >= 0.75 * DECAY.sum(), total, np.nan)
    return pl.Series(known / weight if average else known, nan_to_null=True)


def _mad(x: pl.Series, rows: int) -> pl.Series:
    """Median distance from the median of the rows up to each one."""
    values = x.cast(pl.Float64).to_numpy()
    padded = np.concatenate([np.full(rows - 1, np.nan), values])
    windows = np.lib.stride_tricks.sliding_window_view(padded, rows)
    out = np.concatenate(
        [_mads(windows[start : start + ROWS]) for start in range(0, len(values), ROWS)]
    )
    return pl.Series(out, nan_to_null=True)


def _mads(windows: np.ndarray) -> np.ndarray:
    n = (~np.isnan(windows)).sum(axis=1)
    distances = np.abs(windows - _medians(np.sort(windows, axis=1), n)[:, None])
    return np.where(n >= LEAST[WEEK], _medians(np.sort(distances, axis=1), n), np.nan)


def _medians(in_order: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Of the first n of each row."""
    row, half = np.arange(len(in_order)), np.maximum(n, 1)
    return (in_order[row, (half - 1) // 2] + in_order[row, half // 2]) / 2


MAPS: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "none": lambda x: x,
    "ln": lambda x: pl.when(x > 0).then(x.log()),
    "ln1p": lambda x: pl.when(x > -1).then(x.log1p()),
}
TRANSFORMS: dict[str, Callable[..., pl.Expr]] = {
    "z": z, "rz": rz, "rank": rank, "skew": skew, "kurt": kurt, "snr": snr, "ewm": ewm, "mem": mem,
}  # fmt: skip


def transforms(hours: pl.LazyFrame, asked: list[dict[str, Any]]) -> pl.DataFrame:
    """Columns ``g_<transform>_<factor>``.

    Args:
        hours: symbol, listing_segment, hour_ts and the factors, sorted, every hour of a segment.
        asked: the var ``transforms``.
    """
    mapped = hours.select(
        *KEYS, "hour_ts", *(MAPS[a["map"]](col(a["factor"])).alias(a["factor"]) for a in asked)
    )
    made = [
        _of(name, col(a["factor"])).over(KEYS).alias(f"g_{name}_{a['factor']}")
        for a in asked
        for name in a["transforms"]
    ]
    return mapped.select(*KEYS, "hour_ts", *made).collect()


def _of(name: str, x: pl.Expr) -> pl.Expr:
    kind = name.rstrip("0123456789")
    if kind in ("ewm", "mem"):
        return TRANSFORMS[kind](x)
    return TRANSFORMS[kind](x, int(name.removeprefix(kind) or WEEK))
