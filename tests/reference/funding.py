"""Family B: settled funding as of each row, and the running estimate of the next payment."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import pandas as pd

from .common import (
    HOUR,
    KEYS,
    MINUTE,
    Floats,
    Inputs,
    Times,
    by_symbol,
    premium_candles,
    segments,
    sources,
    table,
)

B_COLUMNS = [
    "funding_rate",
    "funding_interval_hours",
    "funding_annualized",
    "funding_delta",
    "funding_delta_settle",
    "arb_pressure",
    "arb_pressure_side",
    "funding_paid_24h",
    "hours_since_funding",
    "funding_pressure",
    "funding_rate_pred",
    "funding_source",
]
NUMBERS = B_COLUMNS[:-1]
HOURS_A_YEAR = 365 * 24
RICH_CARRY = 0.30
MIN_CROSS_SECTION = 10
CYCLES = (1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Settlement:
    """One payment, as its own segment sees it."""

    time: np.datetime64
    rate: float
    interval: float
    source: str

    @property
    def annualized(self) -> float:
        return self.rate * HOURS_A_YEAR / self.interval


def settlements(inputs: Inputs) -> pd.DataFrame:
    """Events on the nearest minute, one per symbol and minute (the latest `calc_time` wins)."""
    events = table(
        inputs, "funding_rate", ["calc_time"], ["funding_interval_hours", "funding_rate"]
    )
    events["source"] = sources(inputs, "funding_rate")
    events["settle_time"] = (events["calc_time"] + pd.Timedelta(seconds=30)).dt.floor("min")
    events = events.sort_values(["symbol", "calc_time"], kind="stable")
    return events.drop_duplicates(["symbol", "settle_time"], keep="last", ignore_index=True)


def cycle_from_spacing(hours: float) -> float:
    """The settlement cycle that a distance between two settlements stands for."""
    return next((cycle for cycle in CYCLES if hours <= cycle), CYCLES[-1])


def segment_settlements(events: pd.DataFrame, first_row: np.datetime64) -> list[Settlement]:
    """The settlements a segment may see: those landing on its first row or later."""
    landing = events["settle_time"].dt.ceil("h")
    out: list[Settlement] = []
    seen = events[landing >= first_row]
    for time, rate, interval, source in zip(
        seen["settle_time"].to_numpy(),
        seen["funding_rate"].tolist(),
        seen["funding_interval_hours"].tolist(),
        seen["source"].tolist(),
        strict=True,
    ):
        if not interval > 0:
            interval = cycle_from_spacing((time - out[-1].time) / HOUR) if out else np.nan
        out.append(Settlement(time, rate, interval, source))
    return out


def predicted(last: Settlement, hour: np.datetime64, times: Times, premiums: Floats) -> float:
    """Linearly weighted premium since the last settlement, with the venue's damping."""
    inside = slice(np.searchsorted(times, last.time), np.searchsorted(times, hour + HOUR))
    if inside.start >= inside.stop:
        return np.nan
    k = (times[inside] - last.time) // MINUTE + 1
    mean = float(np.sum(k * premiums[inside]) / np.sum(k))
    return (mean + float(np.clip(0.0001 - mean, -0.0005, 0.0005))) * last.interval / 8


def _row(
    past: list[Settlement], hour: np.datetime64, times: Times, premiums: Floats
) -> dict[str, Any]:
    """The columns that depend on one symbol only; `past` ends at the row's hour."""
    if not past:
        return {}
    last = past[-1]
    day = [s.rate for s in takewhile(lambda s: s.time >= hour - 23 * HOUR, reversed(past))]
    age = float((hour - last.time) / HOUR)
    out: dict[str, Any] = {
        "funding_paid_24h": float(sum(day)) if day else np.nan,
        "hours_since_funding": age,
    }
    if age > np.fmax(2 * last.interval, 8):
        return out
    yearly = last.annualized
    out["funding_rate"] = last.rate
    out["funding_source"] = last.source
    out["funding_interval_hours"] = last.interval
    out["funding_annualized"] = yearly
    if len(past) > 1:
        out["funding_delta_settle"] = yearly - past[-2].annualized
    if not np.isnan(yearly):
        out["arb_pressure"] = float(abs(yearly) > RICH_CARRY)
        out["arb_pressure_side"] = float(np.sign(yearly)) * out["arb_pressure"]
    if not np.isnan(last.interval):
        out["funding_rate_pred"] = predicted(last, hour, times, premiums)
    return out


def family_b(inputs: Inputs, rows: pd.DataFrame) -> pd.DataFrame:
    """Family B on the spine's rows."""
    events = by_symbol(settlements(inputs))
    premium = premium_candles(inputs)
    minutes = by_symbol(premium)
    out = pd.DataFrame(np.nan, index=rows.index, columns=NUMBERS)
    out["funding_source"] = pd.Series(None, index=rows.index, dtype="object")
    for symbol, segment in segments(rows):
        hours = segment["hour_ts"].to_numpy()
        own_minutes = minutes.get(symbol, premium.iloc[:0])
        times = own_minutes["open_time"].to_numpy()
        premiums = own_minutes["close"].to_numpy()
        seen = segment_settlements(events[symbol], hours[0]) if symbol in events else []
        stamps = np.array([s.time for s in seen], dtype="datetime64[us]")
        records = [
            _row(seen[: np.searchsorted(stamps, hour, side="right")], hour, times, premiums)
            for hour in hours
        ]
        own = pd.DataFrame(records, index=segment.index, columns=B_COLUMNS)
        own[NUMBERS] = own[NUMBERS].astype("float64")
        own["funding_delta"] = own["funding_rate"].diff()
        out.loc[segment.index] = own
    out = pd.concat([rows[[*KEYS, "has_bar"]], out], axis=1)
    voters = out[(out["has_bar"] == 1) & out["funding_annualized"].notna()]
    market = voters.groupby("hour_ts")["funding_annualized"].agg(["median", "size"])
    median = market.loc[market["size"] >= MIN_CROSS_SECTION, "median"]
    out["funding_pressure"] = out["funding_annualized"] - out["hour_ts"].map(median)
    return out[KEYS + B_COLUMNS]
