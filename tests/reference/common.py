"""What every family needs: reading an input, cutting it into hours, walking over segments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Inputs = Mapping[str, pd.DataFrame]
Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]

KEYS = ["symbol", "hour_ts"]
MINUTE = np.timedelta64(1, "m")
HOUR = np.timedelta64(1, "h")


def table(inputs: Inputs, name: str, times: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    """One input with the wanted columns in known types; an absent input is an empty one."""
    frame = inputs.get(name)
    wanted = ["symbol", *times, *numbers]
    if frame is None:
        frame = pd.DataFrame(columns=wanted)
    frame = frame[wanted].reset_index(drop=True)
    kinds: dict[str, Any] = dict.fromkeys(times, "datetime64[us]")
    kinds |= dict.fromkeys(numbers, "float64")
    return frame.astype({"symbol": "object"} | kinds)


def sources(inputs: Inputs, name: str) -> pd.Series[str]:
    """Whose row each one is, by its position; inputs that do not say are the archive's."""
    frame = inputs.get(name, pd.DataFrame())
    given = frame["source"].tolist() if "source" in frame else ["archive"] * len(frame)
    return pd.Series(given, dtype="object")


def candles(inputs: Inputs, name: str, numbers: Sequence[str]) -> pd.DataFrame:
    """Candles in time order, one per symbol and open time (the last one given), with `hour_ts`."""
    frame = table(inputs, name, ["open_time"], numbers)
    frame["source"] = sources(inputs, name)
    frame = frame.drop_duplicates(["symbol", "open_time"], keep="last")
    frame = frame.sort_values(["symbol", "open_time"], ignore_index=True)
    frame["hour_ts"] = frame["open_time"].dt.floor("h")
    return frame


def premium_candles(inputs: Inputs) -> pd.DataFrame:
    """Premium-index minutes; any finite value will do, negative ones included."""
    prices = ["open", "high", "low", "close"]
    frame = candles(inputs, "premium_index_klines_1m", prices)
    finite = np.isfinite(frame[prices].to_numpy()).all(axis=1)
    out: pd.DataFrame = frame.loc[finite]
    return out


def segments(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of every listing segment, in time order, without gaps."""
    for symbol, own in rows.groupby("symbol"):
        for _, part in own.groupby("listing_segment"):
            yield str(symbol), part


def by_symbol(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {str(symbol): part for symbol, part in frame.groupby("symbol")}


def divide(a: pd.Series[float], b: pd.Series[float]) -> pd.Series[float]:
    """a / b, NULL where b is NULL or zero."""
    return a / b.where(b != 0)
