"""Show that the pandas and the polars implementation agree on two symbols of one month."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from bench import factors_pandas, factors_polars, factors_polars_plain, minutes
from bench.factor_columns import COLUMNS
from ingest.lake import Lake

SYMBOLS = ("ALPHAUSDT", "BETAUSDT")
MONTH = "2024-03"
REL = 1e-7
ABS = 1e-12


def spoiled(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The bars with broken minutes, silent and thin hours and unknown quote volumes."""
    rng = np.random.default_rng(seed)
    frame = frame.reset_index(drop=True).copy()
    n = len(frame)
    some = rng.integers(0, n, size=(5, 40))
    frame.loc[some[0], "high"] = frame["low"] * 0.5
    frame.loc[some[1], "low"] = 0.0
    frame.loc[some[2], "open"] = frame["high"] * 1.01
    frame.loc[some[3], "quote_volume"] = np.nan
    frame.loc[some[4], "close"] = frame["low"] * 0.99
    hour = frame["open_time"].dt.floor("h")
    hours = hour.unique()
    pick = rng.choice(hours, size=8, replace=False)
    silent = hour.isin(pick[:3])
    frame.loc[silent, ["volume", "quote_volume"]] = 0.0
    frame.loc[hour.isin(pick[3:5]), "low"] = -1.0
    thin = hour.isin(pick[5:7]) & (frame["open_time"].dt.minute != 7)
    same = hour == pick[7]
    frame.loc[same, ["volume", "quote_volume"]] = [2.0, 100.0]
    return frame[~thin]


def differences(left: pd.DataFrame, right: pd.DataFrame) -> list[str]:
    """A line for each column that differs."""
    lines = []
    if not left[["symbol", "hour_ts"]].equals(right[["symbol", "hour_ts"]]):
        return ["the rows differ"]
    for name in COLUMNS[2:]:
        a, b = (frame[name].to_numpy(dtype=float) for frame in (left, right))
        nulls = int((np.isnan(a) != np.isnan(b)).sum())
        off = np.abs(a - b) > REL * np.maximum(np.abs(a), np.abs(b)) + ABS
        if nulls or off.any() or np.isinf(a).any() or np.isinf(b).any():
            at = np.flatnonzero(off | (np.isnan(a) != np.isnan(b)))[:3]
            example = ", ".join(f"{left['hour_ts'][i]} {a[i]!r} {b[i]!r}" for i in at)
            lines.append(f"{name}: {nulls} NULLs differ, {int(off.sum())} values: {example}")
    return lines


def compare(bars: pd.DataFrame, settlements: pd.DataFrame) -> list[str]:
    """Differences between the implementations on the bars."""
    in_pandas, in_numpy = (
        pd.concat(
            [
                factors_pandas.momentum_and_volatility(part, settlements, one_hour)
                for _, part in bars.groupby("symbol")
            ],
            ignore_index=True,
        )
        for one_hour in (factors_pandas.hour_in_pandas, factors_pandas.hour_in_numpy)
    )
    tuned, in_polars = (
        module.momentum_and_volatility(
            pl.from_pandas(bars, nan_to_null=True).lazy(), pl.from_pandas(settlements).lazy()
        )
        for module in (factors_polars, factors_polars_plain)
    )
    nans = in_polars.select(pl.selectors.float().is_nan().any()).row(0)
    if any(nans):
        return ["NaN instead of NULL in polars"]
    print(f"{len(in_pandas)} rows, {in_pandas[list(COLUMNS[2:])].notna().sum().sum()} values")
    others = in_polars.to_pandas(), tuned.to_pandas(), in_numpy
    return [line for other in others for line in differences(in_pandas, other)]


def main() -> int:
    """Compare on clean and on spoiled bars; 1 if anything differs."""
    settlements = minutes.settlements(SYMBOLS, [MONTH]).to_pandas()
    late = settlements[settlements["settle_time"] >= "2024-03-10"]
    with tempfile.TemporaryDirectory() as folder:
        minutes.write(Lake(Path(folder)), SYMBOLS, [MONTH], seed=7)
        parts = []
        for symbol in SYMBOLS:
            path = f"vision/klines_1m/symbol={symbol}/month={MONTH}/data.parquet"
            part = pd.read_parquet(Path(folder) / path)
            part.insert(0, "symbol", symbol)
            parts.append(part)
    clean = pd.concat(parts, ignore_index=True)
    dirty = pd.concat([spoiled(part, seed) for seed, part in enumerate(parts)], ignore_index=True)
    lines = compare(clean, settlements) + compare(dirty, late)
    print("\n".join(lines) or "no column differs")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
