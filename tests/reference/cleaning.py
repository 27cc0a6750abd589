"""Family C: silence, restarts, dislocations and the point-in-time volume cap."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .bars import valid_candles
from .common import HOUR, KEYS, MINUTE, Floats, Inputs, Times, segments

C_COLUMNS = [
    "gap_seconds",
    "gap_seconds_1m",
    "under_maintenance",
    "cooldown_no_trade",
    "trade_allowed",
    "is_stable",
    "is_spike",
    "volume_z_168h",
    "is_volume_spike",
    "volume_cap_p99",
    "volume_clean",
    "age_hours",
    "is_mature",
    "is_valid_for_training",
]
SILENCE_SECONDS = 3605
Z_WINDOW, Z_MIN = 168, 24
CAP_MIN = 168
MATURE_HOURS = 24
MIN_MINUTES = 50
SECOND = np.timedelta64(1, "s")


def minute_gaps(bars: pd.DataFrame, active: Times) -> Floats:
    """Longest silence that ended in each hour, in seconds, on the minute tape of one segment."""
    gaps = np.full(len(bars), np.nan)
    previous: np.datetime64 | None = None  # the last active minute so far
    fallback = (bars["bar_source"] == "klines_1h").to_numpy()
    traded = ((bars["trade_count"] > 0) | (bars["volume"] > 0)).to_numpy()
    for i, hour in enumerate(bars["hour_ts"].to_numpy()):
        if fallback[i]:
            if traded[i]:
                previous = hour + 59 * MINUTE
            continue
        minutes = active[np.searchsorted(active, hour) : np.searchsorted(active, hour + HOUR)]
        if not len(minutes):
            continue
        tape = minutes if previous is None else np.insert(minutes, 0, previous)
        if len(tape) > 1:
            gaps[i] = np.max(np.diff(tape)) / SECOND
        previous = minutes[-1]
    return gaps


def frame_before(x: Floats, i: int, width: int) -> Floats:
    """The non-NULL values of the `width` rows before row i."""
    window = x[max(0, i - width) : i]
    return window[~np.isnan(window)]


def volume_z(volume: Floats) -> Floats:
    out = np.full(len(volume), np.nan)
    for i, x in enumerate(volume):
        base = frame_before(volume, i, Z_WINDOW)
        if not np.isnan(x) and len(base) >= Z_MIN and base.min() != base.max():
            out[i] = (x - base.mean()) / base.std(ddof=1)
    return out


def volume_cap(volume: Floats, q: float, window: int) -> Floats:
    out = np.full(len(volume), np.nan)
    for i in range(len(volume)):
        base = frame_before(volume, i, window)
        if len(base) >= CAP_MIN:
            out[i] = np.quantile(base, q)
    return out


def family_c(
    inputs: Inputs,
    rows: pd.DataFrame,
    bars: pd.DataFrame,
    *,
    cooldown_hours: int = 2,
    spike_logret: float = 0.5,
    vol_z: float = 5.0,
    cap_q: float = 0.99,
    cap_window: int = 720,
) -> pd.DataFrame:
    """Family C on the spine's rows; `bars` is family A on the same rows."""
    minutes = valid_candles(inputs, "klines_1m")
    active = {s: m["open_time"].to_numpy() for s, m in minutes[minutes["active"]].groupby("symbol")}
    everything = rows.merge(bars, on=KEYS, how="left", validate="one_to_one")
    parts: list[pd.DataFrame] = []
    for symbol, a in segments(everything):
        c = a[KEYS].copy()
        with_bar = a["has_bar"] == 1
        previous_bar = a["hour_ts"].where(with_bar).ffill().shift(1)
        c["gap_seconds"] = (a["hour_ts"] - previous_bar).dt.total_seconds()
        c["gap_seconds_1m"] = minute_gaps(a, active.get(symbol, np.empty(0, "datetime64[us]")))
        down = (
            ~with_bar
            | (a["n_minutes_active"] == 0)
            | (c["gap_seconds"] > SILENCE_SECONDS)
            | (c["gap_seconds_1m"] > SILENCE_SECONDS)
        )
        c["under_maintenance"] = down.astype("float64")
        c["cooldown_no_trade"] = c["under_maintenance"].rolling(cooldown_hours, min_periods=1).max()
        c["trade_allowed"] = 1 - c["cooldown_no_trade"]
        c["is_stable"] = c["cooldown_no_trade"] == 0
        previous_close = a["close"].ffill().shift(1)
        c["is_spike"] = (a["close"] / previous_close).map(np.log).abs() > spike_logret
        volume = a["volume"].to_numpy(dtype="float64")
        c["volume_z_168h"] = volume_z(volume)
        c["is_volume_spike"] = c["volume_z_168h"] > vol_z
        c["volume_cap_p99"] = volume_cap(volume, cap_q, cap_window)
        over = a["volume"] > c["volume_cap_p99"]
        c["volume_clean"] = a["volume"].mask(over, c["volume_cap_p99"])
        c["age_hours"] = a["has_bar"].cumsum().astype("float64")
        c["is_mature"] = c["age_hours"] > MATURE_HOURS
        fit = (
            (c["trade_allowed"] == 1)
            & c["is_mature"]
            & ~c["is_spike"]
            & ~c["is_volume_spike"]
            & (a["n_minutes"] >= MIN_MINUTES)
        )
        c["is_valid_for_training"] = fit.astype("float64")
        parts.append(c)
    if not parts:
        return pd.DataFrame(columns=KEYS + C_COLUMNS)
    return rows[KEYS].merge(pd.concat(parts), on=KEYS, how="left")[KEYS + C_COLUMNS]
