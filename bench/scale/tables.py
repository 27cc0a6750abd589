"""A made-up month as the tables that the lake keeps, and what is wrong with its files.

Times are cut to the days that there are yet; a table never says more than the files of these days
would.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from bench.scale.market import DAY, SEED, Bools, Contract, Floats, Ints, Month, Path
from ingest.datasets import (
    LARGEST_SIZE_BIN,
    SIZE_BINS_PER_DECADE,
    SMALLEST_SIZE_BIN,
    TICK_SIZES,
    VISION,
)

BARS = (
    "klines_1m",
    "klines_1h",
    "mark_price_klines_1m",
    "mark_price_klines_1h",
    "index_price_klines_1m",
    "index_price_klines_1h",
    "premium_index_klines_1m",
    "premium_index_klines_1h",
)
WITHOUT_TICKS = (*BARS, "funding_rate", "metrics")
TICKS = ("agg_trades_1m", "agg_trade_sizes_1h", "liquidation_snapshot")

# Whose files have which flaw, and in which months: every so many contracts and months.
LOST_MINUTES = (4, 1, 1, 0)  # 1m klines: single minutes and a spell
LOST_DAY = (5, 1, 7, 1)  # 1m klines lack the 11th, hourly ones have it
LOST_MARKS = (4, 2, 1, 0)  # mark and index: a spell
BAD_MONTH = (6, 1, 12, 1)  # premium minutes: the month's file is quarantined
BAD_DAY = (5, 0, 3, 1)  # metrics: the file of the 22nd is quarantined
NO_DAY = (5, 1, 4, 1)  # metrics: there is no file of the 8th
ZEROS = (5, 0, 5, 2)  # metrics: three hours of zeros on the 10th
NO_RATIOS = (5, 1, 5, 1)  # metrics: none on the 12th
LOST_IDS = (5, 0, 6, 4)  # ticks: a quarter of an hour


@dataclass(frozen=True)
class Table:
    """Rows of a dataset and month; None where there is no file that can be trusted.

    Args:
        bad_days: days (1 is the first) whose daily file is quarantined.
        absent_days: days without a file.
    """

    rows: pa.Table | None
    bad_days: tuple[int, ...] = ()
    absent_days: tuple[int, ...] = ()


def has(flaw: tuple[int, int, int, int], contract: Contract, number: int) -> bool:
    """Whether a flaw is in a month of a contract."""
    every, first, months, month = flaw
    return contract.number % every == first and number % months == month


def table(dataset: str, month: Month, days: int) -> Table:
    """The rows of a dataset in the first ``days`` of a month."""
    return _MAKERS[dataset](month, days)


# ------------------------------------------------------------------------------------------ bars
def _minute_bars(name: str, month: Month, days: int) -> Table:
    if name == "premium" and has(BAD_MONTH, month.contract, month.number):
        return Table(None)
    kept = month.listed & (np.arange(len(month.minutes)) < days * DAY) & ~_lost(name, month)
    path = getattr(month, name)
    scale = 10.0**path.decimals
    opens = month.minutes[kept]
    columns: dict[str, object] = {
        "open_time": opens,
        **{n: getattr(path, n)[kept] / scale for n in ("open", "high", "low", "close")},
        "close_time": opens + np.timedelta64(59_999, "ms"),
    }
    if name == "last":
        columns |= _traded(month, lambda values: values[kept])
    return Table(_of_schema(f"{_DATASETS[name]}_1m", columns))


def _hour_bars(name: str, month: Month, days: int) -> Table:
    kept = np.flatnonzero(month.listed[: days * DAY])
    hours = kept // 60
    starts = np.flatnonzero(np.diff(hours, prepend=-1))
    ends = np.append(starts[1:], len(kept)) - 1
    path: Path = getattr(month, name)
    scale = 10.0**path.decimals
    opens = month.minutes[hours[starts] * 60]

    def total(values: Ints) -> Ints:
        return np.add.reduceat(values[kept], starts)

    columns: dict[str, object] = {
        "open_time": opens,
        "open": path.open[kept[starts]] / scale,
        "high": np.maximum.reduceat(path.high[kept], starts) / scale,
        "low": np.minimum.reduceat(path.low[kept], starts) / scale,
        "close": path.close[kept[ends]] / scale,
        "close_time": opens + np.timedelta64(3_599_999, "ms"),
    }
    if name == "last":
        columns |= _traded(month, total)
    return Table(_of_schema(f"{_DATASETS[name]}_1h", columns))


def _traded(month: Month, chosen: Callable[[Ints], Ints]) -> dict[str, object]:
    """Columns that only traded bars have; ``chosen`` picks or sums minutes."""
    lot, quarter = _units(month)
    return {
        "volume": chosen(month.lots) / lot,
        "quote_volume": chosen(month.quarters) / quarter,
        "trade_count": chosen(_raw(month.trades)),
        "taker_buy_volume": chosen(month.buy_lots) / lot,
        "taker_buy_quote_volume": chosen(month.buy_quarters) / quarter,
    }


def _units(month: Month) -> tuple[float, float]:
    """Lots of a coin, and quarter ticks times lots of a USDT."""
    contract = month.contract
    lot = 10.0**contract.lot_decimals
    return lot, 4 * lot * 10.0**contract.price_decimals


def _raw(trades: Ints) -> Ints:
    """Trades before the exchange put those of one order together."""
    return trades + trades // 2


def _lost(name: str, month: Month) -> Bools:
    """Minutes that the files lack."""
    random = _random(month, f"lost {name}")
    contract, n = month.contract, len(month.minutes)
    lost = np.zeros(n, bool)
    if name == "last" and has(LOST_MINUTES, contract, month.number):
        lost[random.integers(0, n, 8)] = True
        _spell(lost, random, 10, 40)
    if name == "last" and has(LOST_DAY, contract, month.number):
        lost[10 * DAY : 11 * DAY] = True
    if name in ("mark", "index") and has(LOST_MARKS, contract, month.number):
        _spell(lost, random, 60, 120)
    return lost


def _spell(lost: Bools, random: np.random.Generator, shortest: int, longest: int) -> None:
    start = random.integers(0, len(lost) - longest)
    lost[start : start + random.integers(shortest, longest)] = True


def _random(month: Month, series: str) -> np.random.Generator:
    name = f"{month.contract.symbol}/{month.name}/{series}"
    return np.random.default_rng([SEED, zlib.crc32(name.encode())])


def _of_schema(dataset: str, columns: dict[str, object]) -> pa.Table:
    schema = VISION[dataset].schema
    return pa.table([pa.array(columns[n]) for n in schema.names], schema=schema)


# --------------------------------------------------------------------------- funding and metrics
def _funding(month: Month, days: int) -> Table:
    """Settlements; rates follow the premium of the cycle that begins, which nobody checks."""
    hours = month.contract.funding_hours
    at = np.arange(0, days * DAY, hours * 60)
    premium = np.add.reduceat(
        month.premium.close[: days * DAY] / 10.0**month.premium.decimals, at
    ) / (hours * 60)
    rates = (premium + np.clip(1e-4 - premium, -5e-4, 5e-4)) * hours / 8
    jitter = _random(month, "settlement").integers(0, 18, len(month.minutes) // 60)[: len(at)]
    kept = month.listed[at]
    return Table(
        _of_schema(
            "funding_rate",
            {
                "calc_time": (month.minutes[at] + jitter.astype("m8[ms]"))[kept],
                "funding_interval_hours": np.full(int(kept.sum()), hours),
                "funding_rate": np.round(rates, 8)[kept],
            },
        )
    )


def _metrics(month: Month, days: int) -> Table:
    """A sample every five minutes, labelled by the end of them."""
    contract, number = month.contract, month.number
    bad_days = (22,) if has(BAD_DAY, contract, number) and days >= 22 else ()
    absent_days = (8,) if has(NO_DAY, contract, number) and days >= 8 else ()
    n = days * DAY // 5
    at = 5 * np.arange(n)
    day = at // DAY + 1
    row = np.arange(n) % (DAY // 5)
    kept = month.listed[at] & ~np.isin(day, [*bad_days, *absent_days])

    interest = month.interest[:n].copy()
    value = interest * month.last.open[at] / 10.0**contract.price_decimals
    if has(ZEROS, contract, number):
        zero = (day == 10) & (row >= 120) & (row < 156)
        interest[zero] = value[zero] = 0.0
    unknown = (day == 12) & has(NO_RATIOS, contract, number)
    bought, sold = (
        _five_minutes(side)[:n] for side in (month.buy_lots, month.lots - month.buy_lots)
    )
    taker = np.divide(bought, sold, out=np.zeros(n), where=sold > 0)

    def known(values: Floats) -> pa.Array:
        return pa.array(values[kept], mask=unknown[kept])

    columns: dict[str, object] = {
        "create_time": month.minutes[at][kept],
        "sum_open_interest": interest[kept],
        "sum_open_interest_value": np.round(value, 4)[kept],
        "count_toptrader_long_short_ratio": known(month.ratios[:n, 0]),
        "sum_toptrader_long_short_ratio": known(month.ratios[:n, 1]),
        "count_long_short_ratio": known(month.ratios[:n, 2]),
        "sum_taker_long_short_vol_ratio": known(np.round(taker, 8)),
        "file_date": month.minutes[at][kept].astype("M8[D]"),
        "file_row": row[kept],
    }
    return Table(_of_schema("metrics", columns), bad_days, absent_days)


def _five_minutes(lots: Ints) -> Ints:
    """Sums of the five minutes before every label; those before the month are taken for none."""
    sums = lots.reshape(-1, 5).sum(axis=1)
    return np.concatenate([[0], sums[:-1]])


# ----------------------------------------------------------------------------------------- ticks
def _tick_minutes(month: Month, days: int) -> Table:
    traded = month.trades > 0
    traded[days * DAY :] = False
    if has(LOST_IDS, month.contract, month.number):
        traded[_lost_ids(month)] = False
    lot, quarter = _units(month)
    price = 10.0**month.contract.price_decimals
    trades, bought = month.trades[traded], month.buy_trades[traded]
    sold = trades - bought
    buy_quote, sell_quote = (q[traded] / quarter for q in (month.buy_quarters, month.sell_quarters))
    first = _random(month, "first tick").integers(0, 20_000, len(traded))[traded]
    last = _random(month, "last tick").integers(40_000, 60_000, len(traded))[traded]
    last = np.where(trades > 1, last, first)
    start = month.minutes[traded]
    zeros = np.zeros(len(trades), np.int64)
    columns: dict[str, object] = {
        "minute_ts": start,
        "trade_count": trades,
        "raw_trade_count": _raw(trades),
        "base_volume": month.lots[traded] / lot,
        "quote_volume": month.quarters[traded] / quarter,
        "buy_qty": month.buy_lots[traded] / lot,
        "sell_qty": (month.lots - month.buy_lots)[traded] / lot,
        "buy_quote": buy_quote,
        "sell_quote": sell_quote,
        "buy_count": bought,
        "sell_count": sold,
        "price_first": month.last.open[traded] / price,
        "price_last": month.last.close[traded] / price,
        "price_high": month.last.high[traded] / price,
        "price_low": month.last.low[traded] / price,
        "first_transact_time": start + first.astype("m8[ms]"),
        "last_transact_time": start + last.astype("m8[ms]"),
        "first_agg_trade_id": month.first_ids[traded],
        "last_agg_trade_id": month.first_ids[traded] + trades - 1,
        "n_bad": zeros,
        "n_duplicates": zeros,
        "n_out_of_order": zeros,
    }
    share = _random(month, "largest tick").uniform(0.1, 0.6, len(traded))[traded]
    for side, count, quote in (("buy", bought, buy_quote), ("sell", sold, sell_quote)):
        largest = quote * np.where(count > 1, np.maximum(share, 1 / np.maximum(count, 1)), 1.0)
        rest = (quote - largest) ** 2 / np.maximum(count - 1, 1)  # if all others are of one size
        columns[f"{side}_max_quote"] = pa.array(largest, mask=count == 0)
        columns[f"{side}_quote_sq"] = largest**2 + rest
    return Table(_of_schema("agg_trades_1m", columns))


def _lost_ids(month: Month) -> slice:
    start = int(_random(month, "lost ids").integers(60, 20 * DAY))
    return slice(start, start + 15)


def _tick_sizes(month: Month, days: int) -> Table:
    """Counts of the hours' trades by size: a broad bell over the bins, few of them very large."""
    traded = month.trades > 0
    if has(LOST_IDS, month.contract, month.number):
        traded[_lost_ids(month)] = False
    _, quarter = _units(month)

    def hourly(values: Ints) -> Ints:
        return (values * traded)[: days * DAY].reshape(-1, 60).sum(axis=1)

    sides = (
        (month.buy_trades, month.buy_quarters),
        (month.trades - month.buy_trades, month.sell_quarters),
    )
    count = np.stack([hourly(n) for n, _ in sides], axis=1).reshape(-1)
    quote = np.stack([hourly(q) for _, q in sides], axis=1).reshape(-1) / quarter
    rows = np.flatnonzero(count)
    count, quote = count[rows], quote[rows]

    width = 1.2  # of the bell, in logs
    centre = np.log(quote / count) - width**2 / 2
    centre += 0.2 * _random(month, "size").standard_normal(2 * len(traded) // 60)[rows]
    edges = np.log(10) * np.arange(LARGEST_SIZE_BIN) / SIZE_BINS_PER_DECADE
    below = 1 / (1 + np.exp(-1.7 * (edges - centre[:, None]) / width))
    reached = np.rint(count[:, None] * below).astype(np.int64)
    whole = np.concatenate([np.zeros((len(rows), 1), np.int64), reached, count[:, None]], axis=1)
    # a bin below the first edge, one between each two, and all from the last one on
    n = np.diff(whole, axis=1)
    bins = np.arange(SMALLEST_SIZE_BIN, LARGEST_SIZE_BIN)
    sums = n * 10 ** ((bins + 0.5) / SIZE_BINS_PER_DECADE)
    sums *= (quote / sums.sum(axis=1))[:, None]
    at, filled = np.nonzero(n)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(at, minlength=len(rows)))])

    def lists(values: Ints | Floats, kind: pa.DataType) -> pa.Array:
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, kind))

    columns = [
        pa.array(month.minutes[rows // 2 * 60]),
        pa.array(np.where(rows % 2, "S", "B"), pa.string()),
        lists(bins[filled], pa.int16()),
        lists(n[at, filled], pa.int64()),
        lists(sums[at, filled], pa.float64()),
    ]
    return Table(pa.table(columns, schema=TICK_SIZES))


def _liquidations(month: Month, days: int) -> Table:
    """Forced orders: more when the price moves, longs when it falls."""
    random = _random(month, "liquidations")
    counts = random.poisson(np.minimum(0.06 * month.moves**2, 5)) * (month.trades > 0)
    at = np.repeat(np.arange(len(counts)), counts)
    late, luck, depth, partial = random.random((4, len(at)))
    spread = random.standard_normal(len(at))
    loss = np.maximum(0.004 * random.standard_exponential(len(at)), 1e-4)
    times = month.minutes[at] + np.floor(60_000 * late).astype("m8[ms]")
    order = np.argsort(times, kind="stable")
    order = order[at[order] < days * DAY]

    contract = month.contract
    lot, price = 10.0**contract.lot_decimals, 10.0**contract.price_decimals
    sold = luck < 0.5 - 0.45 * np.tanh(month.moves[at])
    low, high = month.last.low[at], month.last.high[at]
    average = low + np.floor(depth * (high - low + 1)).astype(np.int64)
    away = np.maximum(np.rint(average * loss), 1).astype(np.int64)
    usual = 3 * np.sqrt(contract.trades * contract.trade_quote)  # USDT
    lots = np.rint(usual * np.exp(1.7 * spread) * price / average * lot)
    lots = np.clip(lots, 1, month.lots[at]).astype(np.int64)
    filled = np.maximum(np.ceil(np.minimum(2 * partial, 1) * lots), 1)
    n = len(order)
    columns: dict[str, object] = {
        "time": times[order],
        "side": np.where(sold, "SELL", "BUY")[order],
        "order_type": np.full(n, "LIMIT"),
        "time_in_force": np.full(n, "IOC"),
        "original_quantity": (lots / lot)[order],
        "price": (np.where(sold, np.maximum(average - away, 1), average + away) / price)[order],
        "average_price": (average / price)[order],
        "order_status": np.full(n, "FILLED"),
        "last_fill_quantity": (filled / lot)[order],
        "accumulated_fill_quantity": (lots / lot)[order],
    }
    return Table(_of_schema("liquidation_snapshot", columns))


_DATASETS = {
    "last": "klines",
    "mark": "mark_price_klines",
    "index": "index_price_klines",
    "premium": "premium_index_klines",
}
_MAKERS: dict[str, Callable[[Month, int], Table]] = {
    "funding_rate": _funding,
    "metrics": _metrics,
    "agg_trades_1m": _tick_minutes,
    "agg_trade_sizes_1h": _tick_sizes,
    "liquidation_snapshot": _liquidations,
    **{f"{of}_1m": functools.partial(_minute_bars, name) for name, of in _DATASETS.items()},
    **{f"{of}_1h": functools.partial(_hour_bars, name) for name, of in _DATASETS.items()},
}
