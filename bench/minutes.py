"""Random-walk minute bars in the layout of the lake."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ingest.lake import Lake, LandingLog
from tests.lakes import land_partition

OUTAGES_A_MONTH = 3


def _month_starts(month: str) -> tuple[np.datetime64, np.datetime64]:
    start = np.datetime64(month, "M")
    return start.astype("datetime64[m]"), (start + 1).astype("datetime64[m]")


def _flat_spells(rng: np.random.Generator, n: int) -> np.ndarray:
    """Minutes in which the price stands still: a spell of half an hour to three hours a week."""
    flat = np.zeros(n, dtype=bool)
    for start in rng.integers(0, n, size=max(1, n // 10_080)):
        flat[start : start + rng.integers(30, 180)] = True
    return flat


def _missing(rng: np.random.Generator, n: int) -> np.ndarray:
    """0.2 % single minutes, and a few outages which leave their hour some minutes."""
    gone = rng.random(n) < 0.002
    for hour in rng.integers(0, n // 60, size=OUTAGES_A_MONTH):
        start = hour * 60 + rng.integers(2, 20)
        gone[start : start + rng.integers(10, 38)] = True
    gone[::60] &= rng.random(len(gone[::60])) < 0.5
    return gone


def month_of_minutes(
    month: str, price: float, tick: float, rng: np.random.Generator
) -> tuple[pa.Table, float]:
    """Minute bars of one month from `price` on, and the last close."""
    start, end = _month_starts(month)
    open_time = np.arange(start, end, dtype="datetime64[m]")
    n = len(open_time)
    zero = rng.random(n) < 0.01
    flat = _flat_spells(rng, n)

    pace = np.exp(np.repeat(rng.normal(0, 0.4, size=n // 60), 60))
    step = rng.standard_t(4, size=n) * 4e-4 * pace
    step[zero | flat] = 0.0
    close = np.maximum(np.round(price * np.exp(np.cumsum(step)) / tick), 100.0) * tick
    open_ = np.concatenate([[round(price / tick) * tick], close[:-1]])
    gap = np.where(zero | flat, 0, rng.integers(-1, 2, size=n)) * tick
    open_ = open_ + gap
    wick = np.where(zero | flat, 0.0, 2e-4 * pace * close)
    high = np.maximum(open_, close) + np.floor(rng.exponential(wick) / tick) * tick
    low = np.minimum(open_, close) - np.floor(rng.exponential(wick) / tick) * tick
    # Equal prices must be equal numbers, as in a file of decimals.
    open_, high, low, close = (np.round(x, 10) for x in (open_, high, low, close))

    volume = np.exp(rng.normal(6.0, 1.0, size=n)) * pace / price * 100
    volume = np.where(zero, 0.0, np.maximum(np.round(volume, 3), 0.001))
    quote = np.round(volume * (open_ + high + low + close) / 4, 6)
    taker = rng.beta(4, 4, size=n)
    trades = np.where(zero, 0, rng.poisson(80 * pace) + 1)
    table = pa.table(
        {
            "open_time": pa.array(open_time.astype("datetime64[us]")),
            "open": open_,
            "high": high,
            "low": low,
            "close": close,
            "volume": volume,
            "close_time": pa.array(
                open_time.astype("datetime64[us]") + np.timedelta64(59_999_000, "us")
            ),
            "quote_volume": quote,
            "trade_count": trades.astype(np.int64),
            "taker_buy_volume": np.round(volume * taker, 3),
            "taker_buy_quote_volume": np.round(quote * taker, 6),
        }
    )
    return table.filter(pa.array(~_missing(rng, n))), float(close[-1])


def write(lake: Lake, symbols: Sequence[str], months: Sequence[str], seed: int) -> int:
    """Land klines_1m, and funding every eight hours; returns the number of minutes."""
    lake.prepare("vision")
    log = LandingLog(lake.log_folder, "vision")
    rows = 0
    for symbol in symbols:
        rng = np.random.default_rng([seed, zlib.crc32(symbol.encode())])
        price = float(10 ** rng.uniform(-1, 4))
        tick = 10.0 ** np.floor(np.log10(price) - 4)
        for month in sorted(months):
            table, price = month_of_minutes(month, price, tick, rng)
            rows += table.num_rows
            times = settle_times(month)
            funding = {
                "calc_time": times,
                "funding_interval_hours": np.full(len(times), 8),
                "funding_rate": rng.normal(1e-4, 1e-4, len(times)),
            }
            land_partition(lake, log, "klines_1m", symbol, month, table)
            land_partition(lake, log, "funding_rate", symbol, month, pa.table(funding))
    log.close()
    return rows


def settle_times(month: str) -> np.ndarray:
    """Funding settlements of a month, one every eight hours."""
    return np.arange(*_month_starts(month), np.timedelta64(480, "m")).astype("datetime64[us]")


def settlements(symbols: Sequence[str], months: Sequence[str]) -> pa.Table:
    """The same settlements as a table of symbol and settle_time."""
    times = np.concatenate([settle_times(month) for month in sorted(months)])
    return pa.table(
        {
            "symbol": np.repeat(np.array(symbols, dtype=object), len(times)),
            "settle_time": pa.array(np.tile(times, len(symbols))),
        }
    )
