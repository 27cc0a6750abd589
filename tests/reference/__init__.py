"""A second, independent computation of the factor families.

It exists to check the SQL models: pandas and numpy, one obvious step after the other, no speed
tricks, nothing shared with the warehouse. NULL is NaN (or None in a text column).

    frames = build_all(inputs)                     # inputs: dataset name -> DataFrame
    frames |= build_layers(frames, events, ok)     # families H, S, G, N
    differences = compare(frames["C"], mart)       # [] when they agree
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pandas as pd

from .bars import A_COLUMNS, T_COLUMNS, family_a, last_closed_hour, spine
from .cleaning import C_COLUMNS, family_c
from .common import KEYS, Inputs
from .compare import Difference, compare
from .funding import B_COLUMNS, family_b
from .liquidations import DEFAULT, family_h
from .minutes import minute_hours
from .momentum import D_COLUMNS, family_d
from .open_interest import LABEL_CHANGE, M_COLUMNS, family_m
from .order_flow import F_COLUMNS, family_f, tick_minutes, trade_sizes
from .signals import N_COLUMNS, family_n
from .structure import S_COLUMNS, family_s
from .transforms import G_COLUMNS, family_g
from .volatility import E_COLUMNS, family_e
from .wide import X_COLUMNS, family_x

COLUMNS = {
    "T": T_COLUMNS,
    "A": A_COLUMNS,
    "B": B_COLUMNS,
    "C": C_COLUMNS,
    "D": D_COLUMNS,
    "E": E_COLUMNS,
    "F": F_COLUMNS,
    "M": M_COLUMNS,
    "X": X_COLUMNS,
    "H": DEFAULT.all,
    "S": S_COLUMNS,
    "G": G_COLUMNS,
    "N": N_COLUMNS,
}

__all__ = [
    "COLUMNS",
    "KEYS",
    "Difference",
    "Inputs",
    "build_all",
    "build_layers",
    "compare",
    "family_a",
    "family_b",
    "family_c",
    "family_d",
    "family_e",
    "family_f",
    "family_m",
    "family_x",
    "last_closed_hour",
    "spine",
    "tick_minutes",
    "trade_sizes",
]


def build_all(
    inputs: Inputs,
    horizon: pd.Timestamp | None = None,
    *,
    cooldown_hours: int = 2,
    spike_logret: float = 0.5,
    vol_z: float = 5.0,
    cap_q: float = 0.99,
    cap_window: int = 720,
    whale_q: float = 0.99,
    retail_q: float = 0.50,
    window_days: int = 7,
    label_change: pd.Timestamp | None = LABEL_CHANGE,
    families: str = "ABCDEFMX",
) -> dict[str, pd.DataFrame]:
    """The spine under "T" and one frame per family, all with the spine's rows in its order."""
    rows = spine(inputs, horizon)
    bars = family_a(inputs, rows)
    hours = cache(lambda: minute_hours(inputs))
    volatility = cache(lambda: family_e(inputs, rows, hours()))
    wanted: dict[str, Callable[[], pd.DataFrame]] = {
        "A": lambda: bars,
        "B": lambda: family_b(inputs, rows),
        "C": lambda: family_c(
            inputs,
            rows,
            bars,
            cooldown_hours=cooldown_hours,
            spike_logret=spike_logret,
            vol_z=vol_z,
            cap_q=cap_q,
            cap_window=cap_window,
        ),
        "D": lambda: family_d(inputs, rows, hours()),
        "E": volatility,
        "F": lambda: family_f(
            inputs, rows, whale_q=whale_q, retail_q=retail_q, window_days=window_days
        ),
        "M": lambda: family_m(inputs, rows, bars, label_change=label_change),
        "X": lambda: family_x(rows, bars, volatility()),
    }
    return {"T": rows} | {family: wanted[family]() for family in families}


def build_layers(
    frames: dict[str, pd.DataFrame],
    events: pd.DataFrame,
    coverage: pd.DataFrame,
    wide: pd.DataFrame | None = None,
) -> dict[str, pd.DataFrame]:
    """Families H, S, G and N on the frames of `build_all`.

    `events` are the liquidations that count, `coverage` has symbol, hour_ts, ok. The transforms
    start from the columns of `wide`, without it from those of the other families.
    """
    rows, bars = frames["T"], frames["A"]
    h = family_h(events, coverage, rows, bars)
    h = rows[KEYS].merge(h, on=KEYS, how="left")
    s = family_s(rows, bars, frames["F"], frames["M"], h, events)
    if wide is None:
        wide = rows
        for frame in (*(frames[f] for f in "ABCDEFMX"), h, s):
            wide = wide.merge(frame, on=KEYS)
    return {"H": h, "S": s, "G": family_g(wide), "N": family_n(rows.merge(bars, on=KEYS), h)}
