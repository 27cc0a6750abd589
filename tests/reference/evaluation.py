"""What followed each row, and how well each factor foresaw it: forward returns and rank ICs.

Written from the definition: Spearman's correlation is Pearson's of the ranks, ties share the mean
of theirs, and only contracts with both values are ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

HORIZONS = (1, 4, 24)


def forward_returns(bars: pd.DataFrame) -> pd.DataFrame:
    """Labels of rows with symbol, hour_ts, listing_segment and close."""
    out = bars[["symbol", "hour_ts"]].copy()
    life = ["symbol", "listing_segment", "hour_ts"]
    for hours in HORIZONS:
        later = bars[[*life, "close"]].assign(hour_ts=bars["hour_ts"] - pd.Timedelta(hours=hours))
        both = bars[[*life, "close"]].merge(later, on=life, how="left", suffixes=("", "_later"))
        out[f"y_{hours}h"] = np.log(both["close_later"] / both["close"]).to_numpy()
        known = bars["hour_ts"] + pd.Timedelta(hours=1 + hours) + pd.Timedelta(milliseconds=1)
        out[f"known_at_{hours}h"] = known
    return out


def hourly_ic(
    values: pd.DataFrame, label: pd.Series[Any], hour: pd.Series[Any], min_symbols: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rank correlation of every column with the label per hour, and how many have both."""
    x = values.where(label.notna(), axis=0)
    y = pd.DataFrame(dict.fromkeys(x, label)).where(x.notna())
    a, b = x.groupby(hour).rank(), y.groupby(hour).rank()
    n = x.notna().groupby(hour).sum()
    sums = {name: v.groupby(hour).sum() for name, v in
            {"a": a, "b": b, "aa": a * a, "bb": b * b, "ab": a * b}.items()}  # fmt: skip
    spread = (n * sums["aa"] - sums["a"] ** 2) * (n * sums["bb"] - sums["b"] ** 2)
    ic = (n * sums["ab"] - sums["a"] * sums["b"]) / np.sqrt(spread.where(spread > 0))
    return ic.where(n >= min_symbols), n


def factor_ic(
    dataset: pd.DataFrame, labels: pd.DataFrame, factors: Sequence[str], min_symbols: int = 10
) -> pd.DataFrame:
    """One row per factor, month and horizon."""
    frame = dataset.merge(labels, on=["symbol", "hour_ts"], validate="one_to_one")
    rows = []
    for month, part in frame.groupby(frame["hour_ts"].dt.strftime("%Y-%m")):
        values = part[list(factors)].astype("float64")
        end = pd.Timestamp(f"{month}-01") + pd.offsets.MonthBegin(1)
        for hours in HORIZONS:
            ic, n = hourly_ic(values, part[f"y_{hours}h"], part["hour_ts"], min_symbols)
            of_month = pd.DataFrame(
                {
                    "mean_ic": ic.mean(),
                    "std_ic": ic.std(),
                    "n_hours": ic.notna().sum(),
                    "mean_n_symbols": n.where(ic.notna()).mean(),
                }
            )
            of_month["ir"] = of_month["mean_ic"] / of_month["std_ic"].where(lambda s: s > 0)
            of_month["t_value"] = of_month["ir"] * np.sqrt(of_month["n_hours"] / hours)
            known = end + pd.Timedelta(hours=hours) + pd.Timedelta(milliseconds=1)
            keys = {"month": month, "horizon_hours": hours, "known_at": known}
            rows.append(of_month.assign(**keys).rename_axis("factor").reset_index())
    return pd.concat(rows, ignore_index=True)
