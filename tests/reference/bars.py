"""Families T (which rows exist) and A (the hour in one bar)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .common import HOUR, KEYS, Inputs, candles, divide, table

T_COLUMNS = ["symbol", "hour_ts", "bar_end_time", "feature_time", "has_bar", "listing_segment"]
A_COLUMNS = [
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trade_count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "vwap",
    "vwap_quote",
    "vwap_dev",
    "n_minutes",
    "n_minutes_active",
    "quote_is_proxy",
    "bar_source",
    "bar_origin",
]
PRICES = ["open", "high", "low", "close"]
SUMS = ["volume", "quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume"]
SILENCE_HOURS = 168


def valid_candles(inputs: Inputs, name: str) -> pd.DataFrame:
    """The structurally sound last-price candles, with the pieces that sums are made of."""
    c = candles(inputs, name, PRICES + SUMS)
    sound = (
        (c["low"] > 0)
        & (c["low"] <= c["high"])
        & c["open"].between(c["low"], c["high"])
        & c["close"].between(c["low"], c["high"])
        & np.isfinite(c["high"])
    )
    out: pd.DataFrame = c.loc[sound].copy()
    out["priced_volume"] = out["volume"] * (out["high"] + out["low"] + out["close"]) / 3
    out["proxied"] = out["quote_volume"].isna()
    out["quote_volume"] = out["quote_volume"].fillna(out["priced_volume"])
    out["active"] = (out["trade_count"] > 0) | (out["volume"] > 0)
    return out


def _aggregate(c: pd.DataFrame) -> pd.DataFrame:
    """Candles to one row per symbol and hour."""
    by_hour = c.groupby(KEYS)
    out: pd.DataFrame = by_hour[[*SUMS, "priced_volume"]].sum(min_count=1)
    out["open"] = by_hour["open"].first()
    out["high"] = by_hour["high"].max()
    out["low"] = by_hour["low"].min()
    out["close"] = by_hour["close"].last()
    out["n_minutes"] = by_hour.size().astype("float64")
    out["n_minutes_active"] = by_hour["active"].sum().astype("float64")
    out["quote_is_proxy"] = by_hour["proxied"].max().astype("float64")
    share_of_api = (c["source"] == "api").groupby([c[key] for key in KEYS]).mean()
    out["bar_origin"] = np.select(
        [share_of_api == 0, share_of_api == 1], ["archive", "api"], "mixed"
    )
    out["traded"] = out["n_minutes_active"] > 0
    out = out.reset_index()
    return out


def hourly_bars(inputs: Inputs) -> pd.DataFrame:
    """Every symbol-hour with a bar: from its minutes, else from the hourly candle."""
    bars = _aggregate(valid_candles(inputs, "klines_1m"))
    bars["bar_source"] = "klines_1m"
    spare = _aggregate(valid_candles(inputs, "klines_1h"))
    spare["bar_source"] = "klines_1h"
    spare["n_minutes"] = 0.0
    spare["n_minutes_active"] = np.nan
    have = pd.MultiIndex.from_frame(bars[KEYS])
    spare = spare[~pd.MultiIndex.from_frame(spare[KEYS]).isin(have)]
    parts = [part for part in (bars, spare) if len(part)] or [bars]
    out = pd.concat(parts, ignore_index=True)
    out["vwap"] = divide(out["priced_volume"], out["volume"])
    out["vwap_quote"] = divide(out["quote_volume"], out["volume"])
    out["vwap_quote"] = out["vwap_quote"].where(out["quote_is_proxy"] == 0)
    out["vwap_dev"] = divide(out["close"], out["vwap_quote"].fillna(out["vwap"])) - 1
    return out


def last_closed_hour(inputs: Inputs) -> pd.Timestamp | None:
    """End of the last hour that the minute candles, over all symbols, have completed."""
    opens = table(inputs, "klines_1m", ["open_time"], [])["open_time"]
    if opens.empty:
        return None
    return pd.Timestamp(opens.max() + pd.Timedelta(minutes=1)).floor("h")


def spine(inputs: Inputs, horizon: pd.Timestamp | None = None) -> pd.DataFrame:
    """Family T: the rows (symbol, hour) that exist, and the listing segment each belongs to."""
    if horizon is None:
        horizon = last_closed_hour(inputs)
    bars = hourly_bars(inputs)
    splits = table(inputs, "listing_splits", ["split_ts"], [])
    parts: list[tuple[Any, np.datetime64, int]] = []
    if horizon is not None:
        last_row = np.datetime64(horizon, "us") - HOUR
        for symbol, own in bars[bars["traded"]].groupby("symbol"):
            hours = [h for h in own["hour_ts"].sort_values().to_numpy() if h <= last_row]
            cuts = splits.loc[splits["symbol"] == symbol, "split_ts"].to_numpy()
            segment = 1
            for i, hour in enumerate(hours):
                # rows from this traded hour up to the next one, or until the silence is too long
                end = hour + (SILENCE_HOURS - 1) * HOUR
                if i + 1 < len(hours):
                    end = min(end, hours[i + 1] - HOUR)
                end = min(end, last_row)
                stamps = np.arange(hour, end + HOUR, HOUR)
                parts += [(symbol, stamp, segment) for stamp in stamps]
                if i + 1 < len(hours):
                    silent = hours[i + 1] - hour > SILENCE_HOURS * HOUR
                    split = any(hour < cut <= hours[i + 1] for cut in cuts)
                    segment += int(silent or split)
    rows = pd.DataFrame(parts, columns=["symbol", "hour_ts", "listing_segment"])
    rows = rows.astype(
        {"symbol": "object", "hour_ts": "datetime64[us]", "listing_segment": "int64"}
    )
    rows["bar_end_time"] = rows["hour_ts"] + pd.Timedelta(hours=1)
    rows["feature_time"] = rows["bar_end_time"] + pd.Timedelta(milliseconds=1)
    with_bar = pd.MultiIndex.from_frame(bars[KEYS])
    rows["has_bar"] = pd.MultiIndex.from_frame(rows[KEYS]).isin(with_bar).astype("int64")
    return rows[T_COLUMNS]


def family_a(inputs: Inputs, rows: pd.DataFrame) -> pd.DataFrame:
    """Family A on the spine's rows; hours without a bar have counts of 0 and NULL otherwise."""
    out = rows[[*KEYS, "has_bar"]].merge(
        hourly_bars(inputs)[KEYS + A_COLUMNS], on=KEYS, how="left", validate="one_to_one"
    )
    empty = out["has_bar"] == 0
    out.loc[empty, ["n_minutes", "n_minutes_active"]] = 0.0
    return out[KEYS + A_COLUMNS]
