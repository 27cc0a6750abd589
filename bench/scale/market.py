"""One month of a made-up contract: every series of it as numpy arrays, a pure function of names.

Random numbers are drawn per (symbol, month, series) and levels are pinned at the turns of the
months, so months can be made in any order and by several processes, and a lake of more months
begins with that of fewer. A month that has only some days yet is the first part of the whole one.

Prices are integers of ticks and volumes integers of lots, as in a file of decimals.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.universe import read_universe

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Draw = Callable[..., Floats]  # numbers of a named series

SEED = 8
FIRST = np.datetime64("2021-01", "M")
DAY = 1440
MONTHLY_VOLATILITY = 0.12  # of the log price
OUTAGE = (9 * DAY + 310, 9 * DAY + 445)  # minutes of a month in which nothing trades anywhere
DELISTED_TAIL = 3 * DAY  # flat empty bars go on after the last trade
COMMON = "*"  # in place of a symbol: what all contracts share


@dataclass(frozen=True)
class Contract:
    """One made-up perpetual.

    Args:
        number: its place among the contracts; its flaws follow from it.
        price: at the start, in USDT.
        price_decimals: decimals of the tick.
        lot_decimals: decimals of the lot.
        volatility: standard deviation of one-minute log returns.
        trades: mean number of aggregated trades of a minute.
        trade_quote: mean size of one, in USDT.
        funding_hours: settlement cycle.
        listed: month (0 is FIRST) and minute of it at which trading begins.
        delisted: month and minute of it at which trading has ended.
    """

    number: int
    symbol: str
    price: float
    price_decimals: int
    lot_decimals: int
    volatility: float
    trades: int
    trade_quote: float
    funding_hours: int
    listed: tuple[int, int] = (0, 0)
    delisted: tuple[int, int] | None = None


@dataclass(frozen=True)
class Path:
    """Bars of a price in whole units of 10**-decimals, arrays of shape (minutes,)."""

    open: Ints
    high: Ints
    low: Ints
    close: Ints
    decimals: int


@dataclass(frozen=True)
class Month:
    """All series of a contract and month, arrays of shape (minutes,) of the whole month.

    ``lots`` are sizes in units of 10**-lot_decimals. ``quarters`` are sums of lots times price in
    quarter ticks: the mean of a bar's four prices is a whole number of these. Where ``listed`` is
    False there is no bar.
    """

    contract: Contract
    number: int  # months since FIRST
    name: str  # YYYY-MM
    minutes: npt.NDArray[np.datetime64]  # microseconds
    listed: Bools
    last: Path
    mark: Path
    index: Path
    premium: Path
    moves: Floats  # returns in units of what is usual at the time
    trades: Ints  # aggregated trades
    buy_trades: Ints
    first_ids: Ints  # of the minute's trades; ids go on from month to month
    lots: Ints
    buy_lots: Ints
    buy_quarters: Ints
    sell_quarters: Ints
    interest: Floats  # base units, at every fifth minute: shape (minutes / 5,)
    ratios: Floats  # shape (minutes / 5, 3)

    @property
    def days(self) -> int:
        """Days of the calendar month."""
        return len(self.minutes) // DAY

    @property
    def quarters(self) -> Ints:
        """Traded in all."""
        return self.buy_quarters + self.sell_quarters


def contracts(count: int) -> list[Contract]:
    """The first ``count`` contracts: names of the universe, then made-up ones."""
    names = [entry.symbol for entry in read_universe() if entry.in_universe]
    names += [f"S{n:03d}USDT" for n in range(len(names), count)]
    return [_contract(n, name) for n, name in enumerate(names[:count])]


def _contract(number: int, symbol: str) -> Contract:
    random = _random(symbol, "", "contract")
    price = float(10 ** random.uniform(-2, 4.5))
    trades = round(20 * 10 ** random.uniform(0, 1))
    trade_quote = float(10 ** random.uniform(2, 3.3))
    listed = delisted = None
    if number % 10 == 3:
        listed = (2 + number // 2, 12 * DAY + 510)
    if number % 40 == 7:
        delisted = (2 + number, 14 * DAY + 540)
    return Contract(
        number=number,
        symbol=symbol,
        price=price,
        price_decimals=int(np.ceil(4 - np.log10(price))),  # 10,000 ticks and more
        # a lot is worth 10 USDT at most
        lot_decimals=max(int(np.ceil(np.log10(price))) - 1, 0),
        volatility=float(10 ** random.uniform(-3.4, -2.9)),
        trades=trades,
        trade_quote=trade_quote,
        funding_hours=4 if number % 8 == 5 else 8,
        listed=listed or (0, 0),
        delisted=delisted,
    )


def month_name(number: int) -> str:
    """``YYYY-MM`` of a month."""
    return str(FIRST + number)


def days_of(number: int) -> int:
    """Days of a month."""
    return len(minutes_of(number)) // DAY


def minutes_of(number: int) -> npt.NDArray[np.datetime64]:
    """Start of every minute of a month."""
    start, end = (FIRST + number).astype("M8[m]"), (FIRST + number + 1).astype("M8[m]")
    return np.arange(start, end).astype("M8[us]")


def is_alive(contract: Contract, number: int) -> bool:
    """Whether the contract has a bar in a month."""
    return bool(_listed(contract, number, len(minutes_of(number))).any())


def make_month(contract: Contract, number: int) -> Month:
    """Everything of a contract and month."""
    minutes = minutes_of(number)
    n = len(minutes)
    symbol = contract.symbol

    def normal(series: str, size: int = n, whose: str = symbol) -> Floats:
        return _random(whose, month_name(number), series).standard_normal(size)

    def wave(series: str, knots: int) -> Floats:
        """Standard normal knots, evenly spread over the month and joined by straight lines.

        The last is the first of the next month.
        """
        heights = np.append(
            normal(series, knots),
            _random(symbol, month_name(number + 1), series).standard_normal(1),
        )
        return np.interp(np.arange(n), np.linspace(0, n, knots + 1), heights)

    # Volatility comes in bursts and with the hours of the day; now and then the price jumps.
    by_hour = 1 + 0.4 * np.sin(2 * np.pi * (np.arange(n) % DAY / DAY - 0.35))
    pace = by_hour * np.exp(0.4 * wave("pace", n // 180) - 0.08)
    own = normal("return")
    own *= np.where(np.abs(own) > 3.3, 3.0, 1.0)
    moves = 0.6 * normal("market", whose=COMMON) + 0.8 * own
    before, after = _level(contract, number), _level(contract, number + 1)
    walk = np.cumsum(contract.volatility * pace * moves)
    share = np.arange(1, n + 1) / n
    log_index = before + walk + share * (after - before - walk[-1])

    listed = _listed(contract, number, n)
    traded = listed & _trading(contract, number, n)
    if number % 6 == 3:
        traded[OUTAGE[0] : OUTAGE[1]] = False
    size = np.exp(0.5 * wave("volume", n // 240) + 0.4 * normal("size") - 0.2)
    crowd = by_hour * size * (0.4 + np.abs(moves))
    crowd[normal("silence") > 2.4] = 0.0  # about one minute in a hundred
    trades, first_ids = _trades(contract, number, crowd * traded)

    basis = 6e-4 * wave("basis", n // 360) + 2e-4
    last = _last(contract, log_index + basis, trades > 0, pace, before, normal)
    index = _marked(contract, log_index, pace, normal("index-range"))
    mark = _marked(contract, log_index + basis, pace, normal("mark-range"))

    lots = _lots(contract, last, trades, normal("lots"))
    buy_share = 0.5 + 0.12 * np.tanh(moves) + 0.08 * normal("side")
    buy_trades = np.clip(np.rint(trades * buy_share), 0, trades).astype(np.int64)
    buy_lots = np.floor(lots * np.clip(buy_share, 0.02, 0.98)).astype(np.int64)
    buy_lots = np.clip(buy_lots, buy_trades, lots - (trades - buy_trades))
    buy_lots[buy_trades == 0] = 0
    buy_lots[buy_trades == trades] = lots[buy_trades == trades]
    buy_price, sell_price = _sides(last, normal("side-price"))

    interest, ratios = _positions(contract, n, wave, normal)
    return Month(
        contract=contract,
        number=number,
        name=month_name(number),
        minutes=minutes,
        listed=listed,
        last=last,
        mark=mark,
        index=index,
        premium=_premium(basis, normal),
        moves=moves,
        trades=trades,
        buy_trades=buy_trades,
        first_ids=first_ids,
        lots=lots,
        buy_lots=buy_lots,
        buy_quarters=buy_lots * buy_price,
        sell_quarters=(lots - buy_lots) * sell_price,
        interest=interest,
        ratios=ratios,
    )


def _random(symbol: str, month: str, series: str) -> np.random.Generator:
    return np.random.default_rng([SEED, zlib.crc32(f"{symbol}/{month}/{series}".encode())])


def _level(contract: Contract, number: int) -> float:
    """Log of the index price when a month begins."""
    drawn = [
        0.6 * _random(COMMON, month_name(n), "level").standard_normal()
        + 0.8 * _random(contract.symbol, month_name(n), "level").standard_normal()
        for n in range(number)
    ]
    return float(np.log(contract.price) + MONTHLY_VOLATILITY * sum(drawn))


def _listed(contract: Contract, number: int, n: int) -> Bools:
    """Minutes with a bar."""
    return _between(contract, number, n, DELISTED_TAIL)


def _trading(contract: Contract, number: int, n: int) -> Bools:
    """Minutes in which the contract can be traded."""
    return _between(contract, number, n, 0)


def _between(contract: Contract, number: int, n: int, tail: int) -> Bools:
    minute = np.arange(n)
    month, first = contract.listed
    inside = (number > month) | ((number == month) & (minute >= first))
    if contract.delisted:
        month, end = contract.delisted
        inside &= (number < month) | ((number == month) & (minute < end + tail))
    return np.asarray(inside)


def _trades(contract: Contract, number: int, crowd: Floats) -> tuple[Ints, Ints]:
    """Trades of every minute, in proportion to ``crowd``, and the id of each one's first.

    A month has as many as its minutes promise, so where its ids begin is known without the months
    before it.
    """
    n = len(crowd)
    start = int((FIRST + number).astype("M8[m]").astype(np.int64)) - int(
        FIRST.astype("M8[m]").astype(np.int64)
    )
    reached = np.cumsum(crowd)
    if not reached[-1]:
        return np.zeros(n, np.int64), np.zeros(n, np.int64)
    edges = np.rint(reached * (contract.trades * n / reached[-1])).astype(np.int64)
    trades = np.diff(edges, prepend=0)
    return trades, 1 + contract.trades * start + edges - trades


def _last(
    contract: Contract, log_price: Floats, active: Bools, pace: Floats, before: float, normal: Draw
) -> Path:
    """Bars of traded prices; a silent minute repeats the last close."""
    unit = 10.0**contract.price_decimals
    noise = 0.1 * contract.volatility * normal("noise")
    close = np.maximum(np.rint(np.exp(log_price + noise) * unit), 100).astype(np.int64)
    n = len(close)
    held = np.maximum.accumulate(np.where(active, np.arange(n), -1))
    start = max(round(np.exp(before) * unit), 100)
    close = np.where(held >= 0, close[held], start)
    step = np.rint(0.6 * normal("step")).astype(np.int64)  # the next minute begins near by
    open_ = np.concatenate([[start], close[:-1]]) + step * active
    reach = contract.volatility * pace * close / 2
    above = np.floor(np.abs(normal("above")) * reach).astype(np.int64) * active
    below = np.floor(np.abs(normal("below")) * reach).astype(np.int64) * active
    high = np.maximum(open_, close) + above
    low = np.maximum(np.minimum(open_, close) - below, 1)
    return Path(open_, high, low, close, contract.price_decimals)


def _marked(contract: Contract, log_price: Floats, pace: Floats, range_: Floats) -> Path:
    """Bars of a price that goes on whether somebody trades or not."""
    decimals = contract.price_decimals
    close = np.rint(np.exp(log_price) * 10.0**decimals).astype(np.int64)
    open_ = np.concatenate([close[:1], close[:-1]])
    reach = np.rint(np.abs(range_) * contract.volatility * pace * close / 4).astype(np.int64)
    low = np.minimum(open_, close) - reach
    return Path(open_, np.maximum(open_, close) + reach, low, close, decimals)


def _premium(basis: Floats, normal: Draw) -> Path:
    close = np.rint(1e7 * (basis + 5e-5 * normal("premium"))).astype(np.int64)
    open_ = np.concatenate([close[:1], close[:-1]])
    wick = np.rint(500 * np.abs(normal("premium-range"))).astype(np.int64)
    low = np.minimum(open_, close) - wick
    return Path(open_, np.maximum(open_, close) + wick, low, close, 7)


def _lots(contract: Contract, last: Path, trades: Ints, size: Floats) -> Ints:
    """At least one lot for every trade."""
    quote = trades * contract.trade_quote * np.exp(0.5 * size - 0.125)
    price = last.close / 10.0**contract.price_decimals
    lots = np.rint(quote / price * 10.0**contract.lot_decimals).astype(np.int64)
    return np.maximum(lots, trades)


def _sides(last: Path, tilt: Floats) -> tuple[Ints, Ints]:
    """Mean prices at which takers buy and sell, in quarter ticks, inside the bar."""
    mean = last.open + last.high + last.low + last.close
    room = np.minimum(4 * last.high - mean, mean - 4 * last.low)
    apart = np.rint(room * np.tanh(tilt) / 2).astype(np.int64)
    return mean + apart, mean - apart


def _positions(contract: Contract, n: int, wave: Draw, normal: Draw) -> tuple[Floats, Floats]:
    """Open interest and the three ratios at every fifth minute."""
    fives = slice(0, None, 5)
    usual = 600 * contract.trades * contract.trade_quote / contract.price
    noise = 0.0003 * normal("interest-noise", n // 5)
    interest = usual * np.exp(0.15 * wave("interest", n // DAY)[fives] + noise)
    interest = np.maximum(np.rint(interest * 1e3), 1) / 1e3
    waves = [wave(f"ratio-{i}", n // DAY)[fives] for i in range(3)]
    shake = normal("ratio-noise", 3 * (n // 5)).reshape(-1, 3)
    ratios = np.exp(0.25 * np.stack(waves, axis=1) + 0.01 * shake)
    return interest, np.round(ratios, 8)
