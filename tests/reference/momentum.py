"""Family D: where the hour's movement happened, how straight it was, and on what volume."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .common import KEYS, Floats, Inputs, segments
from .minutes import Hour, Hours, constant, line, log_ratio, log_ratio_of, minute_hours, ratio

D_COLUMNS = [
    "seg_head_logret",
    "seg_tail_logret",
    "seg_tail_minus_head",
    "seg_tail_share",
    "seg_tail_share_signed",
    "seg_us_open_60m_logret",
    "seg_us_open_60m_logret_last",
    "vol_top20_logret_sum",
    "vol_top20_frac",
    "vol_top20_minute_frac",
    "amihud_signed",
    "amihud_abs",
    "qrs_beta_close_per_hour",
    "qrs_beta_high_per_hour",
    "qrs_beta_low_per_hour",
    "qrs_r2_close",
    "qrs_r2_high",
    "qrs_r2_low",
    "qrs_close",
    "qrs_high",
    "qrs_low",
    "qrs_hl_beta",
    "qrs_hl_r2",
    "qrs_hl_z",
    "qrs_hl",
    "qrs_hl_rskew",
]
HEAD_END = 45
LAST_HEAD_FROM = 40
LAST_TAIL_FROM = 55
NOISE_FLOOR = 1e-4
CARRY_ROWS = 24
BASELINE_ROWS = 600
BASELINE_LEAST = 450


def _head_and_tail(x: Hour) -> dict[str, float]:
    heads = np.flatnonzero(x.m < HEAD_END)
    if not len(heads) or x.m[heads[-1]] < LAST_HEAD_FROM or x.m[-1] < LAST_TAIL_FROM:
        return {}
    middle = float(x.c[heads[-1]])
    head = log_ratio_of(middle, float(x.o[0]))
    tail = log_ratio_of(float(x.c[-1]), middle)
    total = head + tail
    return {
        "seg_head_logret": head,
        "seg_tail_logret": tail,
        "seg_tail_minus_head": tail - head,
        "seg_tail_share": ratio(abs(tail), abs(head) + abs(tail)),
        "seg_tail_share_signed": tail / total if abs(total) >= NOISE_FLOOR else np.nan,
    }


def _heavy_minutes(x: Hour) -> dict[str, float]:
    n = len(x.m)
    out: dict[str, float] = {}
    if x.q.sum() > 0:
        k = -(-n // 5)
        top = np.lexsort((x.m, -x.q))[:k]  # of equal ones the earlier first
        out["vol_top20_logret_sum"] = float(x.r[top].sum())
        out["vol_top20_frac"] = float(x.q[top].sum() / x.q.sum())
    # the linear 0.8 quantile lies at rank 4(n-1)/5 of the sorted volumes
    ordered = np.sort(x.v)
    rank, rest = divmod(4 * (n - 1), 5)
    threshold = ordered[rank]
    if rest:
        threshold = threshold + (ordered[rank + 1] - threshold) * (rest / 5)
    out["vol_top20_minute_frac"] = float(np.sum(x.v >= threshold)) / n
    return out


def _price_per_dollar(x: Hour) -> dict[str, float]:
    paid = x.q > 0
    if not paid.any():
        return {}
    per_dollar = x.r[paid] / x.q[paid]
    return {
        "amihud_signed": 1e6 * float(per_dollar.sum()),
        "amihud_abs": 1e6 * float(np.abs(per_dollar).sum()),
    }


def _trends(x: Hour) -> dict[str, float]:
    out: dict[str, float] = {}
    when = x.m.astype("float64")
    for name, price in (("close", x.c), ("high", x.h), ("low", x.l)):
        slope, r2 = line(when, log_ratio(price, np.full(len(price), price[0])))
        out[f"qrs_beta_{name}_per_hour"] = 60 * slope
        out[f"qrs_r2_{name}"] = r2
        out[f"qrs_{name}"] = 60 * slope * r2
    if not constant(x.h):
        out["qrs_hl_beta"], out["qrs_hl_r2"] = line(x.l, x.h)
    return out


def hour_momentum(x: Hour) -> dict[str, float]:
    """The columns that need nothing but the hour itself."""
    if not x.full:
        return {}
    return _head_and_tail(x) | _heavy_minutes(x) | _price_per_dollar(x) | _trends(x)


def _price_at(x: Hour | None, minute: int, prices: str) -> float:
    if x is None:
        return np.nan
    at = np.flatnonzero(x.m == minute)
    return float(getattr(x, prices)[at[0]]) if len(at) else np.nan


def _us_open(
    own: list[Hour | None], stamps: pd.Series[pd.Timestamp], closed: set[object]
) -> Floats:
    """09:30 to 10:30 in New York, on the row that holds the last of these minutes."""
    local = stamps.dt.tz_localize("UTC").dt.tz_convert("America/New_York")
    out = np.full(len(own), np.nan)
    for i, now in enumerate(local):
        if i and now.hour == 10 and now.weekday() < 5 and now.date() not in closed:
            first, last = _price_at(own[i - 1], 30, "o"), _price_at(own[i], 29, "c")
            if not np.isnan(first + last):
                out[i] = log_ratio_of(last, first)
    return out


def _carried(x: Floats) -> Floats:
    """The last known value of the 24 rows that end here."""
    out = np.full(len(x), np.nan)
    for i in range(len(x)):
        known = [value for value in x[max(0, i - CARRY_ROWS + 1) : i + 1] if not np.isnan(value)]
        if known:
            out[i] = known[-1]
    return out


def baseline_z(x: Floats) -> Floats:
    """Distance from the mean of the 600 rows before, in their sample standard deviations."""
    out = np.full(len(x), np.nan)
    for i, value in enumerate(x):
        base = x[max(0, i - BASELINE_ROWS) : i]
        base = base[~np.isnan(base)]
        if not np.isnan(value) and len(base) >= BASELINE_LEAST and not constant(base):
            out[i] = (value - base.mean()) / base.std(ddof=1)
    return out


def family_d(inputs: Inputs, rows: pd.DataFrame, hours: Hours | None = None) -> pd.DataFrame:
    """Family D on the spine's rows."""
    if hours is None:
        hours = minute_hours(inputs)
    closed: set[object] = set()
    if "us_market_holidays" in inputs:
        closed = set(pd.to_datetime(inputs["us_market_holidays"]["holiday"]).dt.date)
    out = pd.DataFrame(np.nan, index=rows.index, columns=D_COLUMNS)
    for symbol, segment in segments(rows):
        stamps = segment["hour_ts"].to_numpy().astype("datetime64[us]")
        own = [hours.get((symbol, stamp)) for stamp in stamps]
        records = [hour_momentum(x) if x else {} for x in own]
        part = pd.DataFrame(records, index=segment.index, columns=D_COLUMNS).astype("float64")
        us_open = _us_open(own, segment["hour_ts"], closed)
        part["seg_us_open_60m_logret"] = us_open
        part["seg_us_open_60m_logret_last"] = _carried(us_open)
        part["qrs_hl_z"] = baseline_z(part["qrs_hl_beta"].to_numpy())
        part["qrs_hl"] = part["qrs_hl_z"] * part["qrs_hl_r2"]
        part["qrs_hl_rskew"] = part["qrs_hl"] * part["qrs_hl_beta"]
        out.loc[segment.index] = part
    return pd.concat([rows[KEYS], out], axis=1)
