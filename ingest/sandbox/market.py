"""A deterministic market whose trades, bars, marks, funding and metrics agree with each other.

Everything is computed per minute from the start of the simulation on. Random numbers are drawn per
(seed, symbol, series, day) and every recursion runs forward, so a longer simulation begins with the
shorter one, and no symbol depends on another (they share one market factor).

Prices are integers of ticks and volumes integers of lots: sums over any window are exact.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

DAY = 1440
SAMPLE_RATE = 5  # minutes between open interest samples
SLOTS = 6  # most aggregated trades of a minute


@dataclass(frozen=True)
class Contract:
    """One simulated perpetual.

    Args:
        price: index price at the start, in USDT.
        price_decimals: decimals of the tick.
        lot_decimals: decimals of the lot.
        turnover: mean quote volume per minute, in USDT.
        volatility: standard deviation of one-minute log returns.
        thin: share of minutes without any trade.
        listed: first minute with a bar.
        last_trade: last minute with a trade; flat empty bars follow.
        last_bar: last minute with a bar.
        pause: delisted from the first moment to the second, then listed again under its name.
        jump: a minute whose return this is added to.
        funding_hours: settlement cycle from a given time on, ascending.
    """

    symbol: str
    price: float
    price_decimals: int
    lot_decimals: int
    turnover: float
    volatility: float = 6e-4
    thin: float = 0.0
    listed: datetime | None = None
    last_trade: datetime | None = None
    last_bar: datetime | None = None
    pause: tuple[datetime, datetime] | None = None
    jump: tuple[datetime, float] | None = None
    funding_hours: tuple[tuple[datetime, int], ...] = ((datetime(2020, 1, 1), 8),)


@dataclass(frozen=True)
class Ohlc:
    """Four price series of one bar type, float64 of shape (minutes,)."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats


@dataclass(frozen=True)
class Tape:
    """Aggregated trades while the contract is listed, arrays of shape (trades,) in their order.

    Ids begin at 1 with every listing. Raw ids have gaps: some trades are never aggregated.
    """

    ids: Ints
    times: Ints  # epoch ms, never falling
    price_ticks: Ints
    lots: Ints
    first_ids: Ints  # raw trades, both ends included
    last_ids: Ints
    sold: Bools  # the taker sold: the buyer was the maker


@dataclass(frozen=True)
class Liquidations:
    """Forced orders, each filled to its whole size; arrays of shape (orders,) in order of time.

    They are more when the price moves, longs when it falls, and take no more than the trades of
    their minute and side.
    """

    times: Ints  # epoch ms of the last fill, never falling
    sold: Bools  # a SELL order: a long is liquidated
    lots: Ints
    last_lots: Ints  # last fill, at most ``lots``
    price_ticks: Ints  # price of the order: the bankruptcy price, no better than the average
    average_ticks: Ints  # price of the fills, within the minute's bar


@dataclass(frozen=True)
class Market:
    """All series of one contract.

    Minute arrays have shape (minutes,), sample arrays (samples,) at five minutes. ``ticks`` are
    prices in units of 10**-price_decimals, ``lots`` sizes in units of 10**-lot_decimals, ``quote``
    sums of their products. Where there is no bar, ``quote`` and ``trades`` are 0.
    """

    contract: Contract
    minutes: Ints  # epoch ms of each minute's start
    open_ticks: Ints
    high_ticks: Ints
    low_ticks: Ints
    close_ticks: Ints
    lots: Ints
    buy_lots: Ints
    quote: Ints
    buy_quote: Ints
    trades: Ints
    tape: Tape
    liquidations: Liquidations
    mark: Ohlc
    index: Ohlc
    premium: Ohlc
    has_bar: Bools
    sample_times: Ints  # epoch ms; the value is known at this time
    open_interest: Floats  # base units
    open_interest_value: Floats  # USDT
    ratios: Floats  # (samples, 3): top accounts, top positions, all accounts
    taker_ratio: Floats
    settle_times: Ints  # epoch ms, on the hour
    settle_jitter: Ints  # ms after settle_times at which the exchange stamps them
    settle_hours: Ints
    settle_rates: Floats


def epoch_ms(moment: datetime) -> int:
    """Epoch milliseconds of a naive UTC time."""
    return (moment - datetime(1970, 1, 1)) // timedelta(milliseconds=1)


def within(times: Ints, span: tuple[datetime, datetime]) -> Bools:
    """Which times (epoch ms) lie in [first, second)."""
    inside: Bools = (times >= epoch_ms(span[0])) & (times < epoch_ms(span[1]))
    return inside


def alive(contract: Contract, times: Ints) -> Bools:
    """At which times (epoch ms) the contract is listed and trades."""
    living: Bools = np.ones(len(times), dtype=bool)
    if contract.listed:
        living &= times > epoch_ms(contract.listed)
    if contract.last_trade:
        living &= times <= epoch_ms(contract.last_trade)
    if contract.pause:
        living &= ~within(times, contract.pause)
    return living


def settlement_cycle(contract: Contract, time: int) -> int:
    """Hours between settlements at a time (epoch ms)."""
    return next(h for since, h in reversed(contract.funding_hours) if time > epoch_ms(since))


def draws(seed: int, symbol: str, series: str, days: int) -> Floats:
    """Standard normal numbers of shape (days * 1440,), the same for a day whatever follows it."""
    name = zlib.crc32(f"{symbol}/{series}".encode())
    return np.concatenate(
        [np.random.default_rng((seed, name, day)).standard_normal(DAY) for day in range(days)]
    )


def decay(shocks: Floats, half_life: float) -> Floats:
    """Exponentially forgetting sum of shocks, scaled to their own variance."""
    keep = 0.5 ** (1 / half_life)
    return _recursion(shocks * np.sqrt(1 - keep * keep), keep, 0.0)


def _smooth(values: Floats, half_life: float) -> Floats:
    """Exponential moving average."""
    keep = 0.5 ** (1 / half_life)
    return _recursion(values * (1 - keep), keep, float(values[0]))


def _recursion(inputs: Floats, keep: float, level: float) -> Floats:
    out = np.empty_like(inputs)
    for i, value in enumerate(inputs.tolist()):
        level = keep * level + value
        out[i] = level
    return out


def simulate(
    contract: Contract,
    start: datetime,
    days: int,
    *,
    seed: int = 7,
    outages: tuple[tuple[datetime, datetime], ...] = (),
) -> Market:
    """Simulate ``days`` whole days from ``start``; during outages nothing trades."""
    symbol = contract.symbol
    n = days * DAY
    minutes = epoch_ms(start) + 60_000 * np.arange(n, dtype=np.int64)

    def normal(series: str) -> Floats:
        return draws(seed, symbol, series, days)

    # Volatility comes in bursts; about twice a day the price jumps.
    burst = np.exp(0.6 * decay(normal("burst"), 90) - 0.18)
    common = draws(seed, "*", "market", days)
    jumps = np.where(normal("jump-time") > 3.2, 12 * normal("jump-size"), 0.0)
    returns = contract.volatility * burst * (0.6 * common + 0.8 * normal("return") + jumps)
    if contract.jump:
        returns[minutes == epoch_ms(contract.jump[0])] += contract.jump[1]
    index_close = contract.price * np.exp(np.cumsum(returns))
    spread = contract.volatility * burst
    index = _path(contract.price, index_close, spread, normal("index-range"))

    basis = 6e-4 * decay(normal("basis"), 240) + 2e-4
    last = index_close * np.exp(basis + 0.1 * contract.volatility * normal("noise"))
    tick = 10.0**-contract.price_decimals
    close = np.maximum(np.rint(last / tick), 1).astype(np.int64)

    silent = np.zeros(n, dtype=bool)
    if contract.thin:
        silent |= normal("thin") < NormalDist().inv_cdf(contract.thin)
    for outage in outages:
        silent |= within(minutes, outage)
    if contract.last_trade:
        silent |= minutes > epoch_ms(contract.last_trade)
    has_bar = np.ones(n, dtype=bool)
    if contract.listed:
        has_bar &= minutes >= epoch_ms(contract.listed)
    if contract.last_bar:
        has_bar &= minutes <= epoch_ms(contract.last_bar)
    if contract.pause:
        has_bar &= ~within(minutes, contract.pause)

    # A silent minute repeats the last close.
    close = close[np.maximum.accumulate(np.where(silent, 0, np.arange(n)))]
    open_ = np.concatenate([close[:1], close[:-1]])
    reach = np.rint(np.abs(normal("range")) * spread * last / tick / 2).astype(np.int64)
    reach[silent] = 0
    below = np.concatenate([reach[:1], reach[:-1]]) * ~silent
    high = np.maximum(open_, close) + reach
    low = np.maximum(np.minimum(open_, close) - below, 1)

    hour_shape = 1 + 0.6 * np.cos(2 * np.pi * (np.arange(n) % 60) / 60)
    size = np.exp(0.7 * decay(normal("volume"), 45) + 0.5 * normal("size") - 0.37)
    moved = 0.5 + np.abs(returns) / contract.volatility
    activity = hour_shape * size * moved
    lot = 10.0**-contract.lot_decimals
    lots = np.rint(contract.turnover * activity / (close * tick) / lot)
    # Every trade of a minute has at least one lot, whichever side it is on.
    lots = np.where(silent, 0, np.maximum(lots, 2 * SLOTS)).astype(np.int64)
    buy_share = np.clip(0.5 + 0.12 * np.tanh(returns / spread) + 0.08 * normal("side"), 0.02, 0.98)
    buy_lots = np.floor(lots * buy_share).astype(np.int64)
    buy_lots = np.where(silent, 0, np.clip(buy_lots, SLOTS, lots - SLOTS))

    bars = np.stack([open_, high, low, close], axis=1)
    tape = _tape(
        contract, minutes, has_bar & ~silent, bars, lots, buy_lots, np.log(activity), normal
    )
    minute_of = (tape.times - minutes[0]) // 60_000

    def total(values: Ints) -> Ints:
        sums = np.zeros(n, dtype=np.int64)
        np.add.at(sums, minute_of, values)
        return sums

    quote = tape.price_ticks * tape.lots

    mark = _path(
        contract.price, index_close * np.exp(_smooth(basis, 30)), spread, normal("mark-range")
    )
    premium_close = np.round(basis + 5e-5 * normal("premium"), 8)
    premium_open = np.concatenate([premium_close[:1], premium_close[:-1]])
    wick = np.abs(normal("premium-range")) * 5e-5
    premium = Ohlc(
        premium_open,
        np.round(np.maximum(premium_open, premium_close) + wick, 8),
        np.round(np.minimum(premium_open, premium_close) - wick, 8),
        premium_close,
    )

    samples = slice(SAMPLE_RATE - 1, None, SAMPLE_RATE)
    five = lots.reshape(-1, SAMPLE_RATE).sum(axis=1)
    five_buy = buy_lots.reshape(-1, SAMPLE_RATE).sum(axis=1)
    flow = 0.3 * np.tanh(normal("interest")[samples]) * five
    usual = 600 * contract.turnover / contract.price / lot
    interest = np.maximum(usual + np.cumsum(flow), usual / 10)
    interest = np.rint(interest) * lot
    ratios = np.exp(
        0.25 * np.stack([decay(normal(f"ratio-{i}")[samples], 300) for i in range(3)], axis=1)
    )
    sold = five - five_buy
    taker = np.divide(five_buy, sold, out=np.zeros(len(five)), where=sold > 0)

    times, hours, rates = _settlements(contract, minutes, premium_close)
    jitter = np.random.default_rng((seed, zlib.crc32(symbol.encode())))
    return Market(
        contract=contract,
        minutes=minutes,
        open_ticks=open_,
        high_ticks=high,
        low_ticks=low,
        close_ticks=close,
        lots=lots,
        buy_lots=buy_lots,
        quote=total(quote),
        buy_quote=total(quote * ~tape.sold),
        trades=total(tape.last_ids - tape.first_ids + 1),
        tape=tape,
        liquidations=_liquidations(
            contract, seed, minutes, bars, total(tape.lots), total(tape.lots * ~tape.sold)
        ),
        mark=mark,
        index=index,
        premium=premium,
        has_bar=has_bar,
        sample_times=minutes[samples] + 60_000,
        open_interest=interest,
        open_interest_value=interest * close[samples] * tick,
        ratios=ratios,
        taker_ratio=np.round(taker, 8),
        settle_times=times,
        settle_jitter=jitter.integers(0, 18, 1 << 16, dtype=np.int64)[: len(times)],
        settle_hours=hours,
        settle_rates=rates,
    )


def _tape(
    contract: Contract,
    minutes: Ints,
    traded: Bools,
    bars: Ints,
    lots: Ints,
    buy_lots: Ints,
    crowd: Floats,
    normal: Callable[[str], Floats],
) -> Tape:
    """Trades that make the given bars.

    Args:
        traded: which minutes have trades, shape (minutes,) as all that follow.
        bars: open, high, low and close in ticks, shape (minutes, 4).
        crowd: the larger, the more trades a minute has.
        normal: draws one standard normal number per minute for a named series.
    """

    def slots(series: str) -> Floats:
        """One number for each possible trade, shape (traded minutes, SLOTS)."""
        return np.stack([normal(f"{series}-{i}")[traded] for i in range(SLOTS)], axis=1)

    def uniform(series: str) -> Floats:
        return slots(series) % 1  # what follows the point of a normal number is all but uniform

    open_, high, low, close = bars[traded].T
    total, bought = lots[traded], buy_lots[traded]

    # First the open, last the close; between them the extremes, and anything that lies within.
    reach = (high - low + 1)[:, None] * uniform("tick-price")
    prices = low[:, None] + np.floor(reach).astype(np.int64)
    rising = normal("tick-order")[traded] > 0
    prices[:, 0], prices[:, -1] = open_, close
    prices[:, 1], prices[:, 3] = np.where(rising, (low, high), (high, low))
    kept = slots("tick-count") + crowd[traded][:, None] > 1.8
    kept[:, [0, -1]] = True
    for slot in (1, 3):
        kept[:, slot] |= (prices[:, slot] != open_) & (prices[:, slot] != close)

    # Both sides trade in every minute.
    sold = uniform("tick-side") > (bought / total)[:, None]
    sellers = (sold & kept).sum(axis=1)
    one_sided = (sellers == 0) | (sellers == kept.sum(axis=1))
    sold[one_sided, -1] ^= True

    # Sizes differ by orders of magnitude, at some times more than at others.
    tail = 2 * np.exp(0.3 * decay(normal("tick-tail"), 120)[traded])
    weights = np.exp(tail[:, None] * slots("tick-size")) * kept
    sizes = _split(bought, weights * ~sold) + _split(total - bought, weights * sold)

    times = np.sort(np.floor(60_000 * uniform("tick-time")).astype(np.int64), axis=1)
    together = slots("tick-burst") > 0.8
    for slot in range(1, SLOTS):
        times[:, slot] = np.where(together[:, slot], times[:, slot - 1], times[:, slot])

    unit = 10.0 ** -(contract.price_decimals + contract.lot_decimals)
    raw = np.clip(np.rint(prices * sizes * unit / 900), 1, sizes).astype(np.int64)
    skipped = np.maximum(np.floor(4 * (slots("tick-gap") - 2.2)), 0).astype(np.int64)

    moments = (minutes[traded][:, None] + times)[kept]
    ids = np.arange(1, len(moments) + 1)
    last_ids = np.cumsum((raw + skipped)[kept])
    if contract.pause:
        relisted = int(np.searchsorted(moments, epoch_ms(contract.pause[1])))
        ids[relisted:] -= relisted
        last_ids[relisted:] -= last_ids[:relisted].max(initial=0)
    return Tape(
        ids=ids,
        times=moments,
        price_ticks=prices[kept],
        lots=sizes[kept],
        first_ids=last_ids - raw[kept] + 1,
        last_ids=last_ids,
        sold=sold[kept],
    )


def _liquidations(
    contract: Contract, seed: int, minutes: Ints, bars: Ints, lots: Ints, buy_lots: Ints
) -> Liquidations:
    """Liquidations of the given bars.

    Args:
        bars: open, high, low and close in ticks, shape (minutes, 4).
        lots: traded in the minute, shape (minutes,); 0 where there is no trade.
        buy_lots: the part of ``lots`` that takers bought.
    """
    name = zlib.crc32(f"{contract.symbol}/liquidations".encode())
    open_, high, low, close = bars.T
    moves = np.log(close / open_) / contract.volatility
    sides = np.minimum(buy_lots, lots - buy_lots)
    rates = np.minimum(0.08 * moves**2, 30)
    median = 3 * np.sqrt(contract.turnover)  # USDT
    unit = 10.0 ** -(contract.price_decimals + contract.lot_decimals)

    days = []
    for day in range(len(minutes) // DAY):
        today = slice(day * DAY, (day + 1) * DAY)
        random = np.random.default_rng((seed, name, day))
        counts = np.minimum(random.poisson(rates[today]), sides[today])
        begun = 40_000 * random.random(DAY)  # the orders of a minute come within 20 s
        at = np.repeat(np.arange(DAY), counts)
        n = len(at)
        late = 20_000 * random.random(n)
        luck, depth, partial = random.random((3, n))
        sizes = median * np.exp(1.7 * random.standard_normal(n))
        loss = np.maximum(0.004 * random.standard_exponential(n), 1e-4)

        minute = at + today.start
        sold = luck < 0.5 - 0.45 * np.tanh(moves[minute])
        most = np.where(sold, lots[minute] - buy_lots[minute], buy_lots[minute]) // counts[at]
        reach = high[minute] - low[minute] + 1
        average = low[minute] + np.floor(depth * reach).astype(np.int64)
        whole = np.clip(np.rint(sizes / (average * unit)), 1, most).astype(np.int64)
        away = np.maximum(np.rint(average * loss), 1).astype(np.int64)
        times = minutes[minute] + np.floor(begun[at] + late).astype(np.int64)
        filled = np.ceil(np.minimum(2 * partial, 1) * whole).astype(np.int64)
        order = np.argsort(times, kind="stable")
        rows = Liquidations(
            times=times,
            sold=sold,
            lots=whole,
            last_lots=np.maximum(filled, 1),
            price_ticks=np.maximum(np.where(sold, average - away, average + away), 1),
            average_ticks=average,
        )
        days.append([getattr(rows, f.name)[order] for f in fields(Liquidations)])
    return Liquidations(*(np.concatenate(column) for column in zip(*days, strict=True)))


def _split(totals: Ints, weights: Floats) -> Ints:
    """Divide each total in proportion to its row of weights; no part with a weight is empty.

    Args:
        totals: shape (rows,), at least the number of positive weights in the row.
        weights: shape (rows, parts), at least one positive in every row.
    """
    least = (weights > 0).astype(np.int64)
    reached = np.cumsum(weights, axis=1)
    reached *= (totals - least.sum(axis=1))[:, None] / reached[:, -1:]
    edges = np.rint(reached).astype(np.int64)
    parts: Ints = np.diff(edges, axis=1, prepend=0) + least
    return parts


def _path(first: float, close: Floats, spread: Floats, reach: Floats) -> Ohlc:
    """Bars around a path of closes, eight decimals."""
    open_ = np.concatenate([[first], close[:-1]])
    wick = np.abs(reach) * spread / 2
    high = np.maximum(open_, close) * (1 + wick)
    low = np.minimum(open_, close) * (1 - wick)
    return Ohlc(*(np.round(x, 8) for x in (open_, high, low, close)))


def funding_rate(mean_premium: float, hours: int) -> float:
    """Rate of one settlement from the weighted mean premium of its interval."""
    interest = min(max(1e-4 - mean_premium, -5e-4), 5e-4)
    return round((mean_premium + interest) * hours / 8, 8)


def _settlements(contract: Contract, minutes: Ints, premium: Floats) -> tuple[Ints, Ints, Floats]:
    """Settlement times, their intervals in hours, and rates."""
    times: list[int] = []
    intervals: list[int] = []
    rates: list[float] = []
    previous = 0
    for i in range(60, len(minutes) + 1, 60):
        time = int(minutes[0]) + 60_000 * i
        hours = settlement_cycle(contract, time)
        if time % (hours * 3_600_000):
            continue
        window = premium[previous:i]
        weights = np.arange(1, len(window) + 1)
        times.append(time)
        intervals.append(hours)
        rates.append(funding_rate(float((weights * window).sum() / weights.sum()), hours))
        previous = i
    return np.array(times, np.int64), np.array(intervals, np.int64), np.array(rates)
