"""The breakout of the public LiquidationFactorEngine, restated to show how it explodes.

It differs from `feat_brk_*` of family H in three ways: it counts rows and not hours, it skips bars
without events, and it divides by a quantile that zeros take part in, plus a tiny number.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

ROWS = 24
QUANTILE = 0.9
TINY = 1e-9


def published_breakout(x: pd.Series[float]) -> pd.Series[float]:
    """x over the quantile of the 24 bars before it; bars without events are NaN and left out."""
    bars = x.dropna()
    values = bars.to_numpy()
    out = pd.Series(np.nan, index=x.index)
    for i in range(1, len(values)):
        usual = np.quantile(values[max(0, i - ROWS) : i], QUANTILE)
        out.loc[bars.index[i]] = values[i] / (usual + TINY)
    return out
