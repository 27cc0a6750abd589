"""What the sandbox exchange lists and what is wrong with its archive."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache

import numpy as np

from ingest.sandbox.market import Contract, Market, simulate
from ingest.universe import default_symbols

SEED = 7
START = date(2024, 1, 1)
END = date(2024, 3, 10)  # January and February have monthly files, March is the current month
LIVE_END = date(2024, 3, 11)  # what is live goes on for one more day than the archive
LIVE_START = datetime(2024, 3, 11, 6)  # where its clock begins when a user serves it
OUTAGE = (datetime(2024, 2, 20, 5, 10), datetime(2024, 2, 20, 7, 25))

EIGHT_HOURS = (datetime(2020, 1, 1), 8)
FOUR_HOURS = (datetime(2020, 1, 1), 4)

CONTRACTS = (
    Contract("BTCUSDT", 42_000, 1, 3, 4e6, 4e-4),
    Contract("ETHUSDT", 2_300, 2, 3, 2e6, 5e-4),
    Contract("BNBUSDT", 310, 2, 2, 5e5, 5e-4),
    Contract("SOLUSDT", 101, 3, 0, 9e5, 8e-4),
    Contract("XRPUSDT", 0.62, 4, 1, 4e5),
    Contract("ADAUSDT", 0.59, 4, 0, 2e5),
    Contract("DOGEUSDT", 0.09, 5, 0, 3e5),
    Contract("LINKUSDT", 14.9, 3, 2, 2e5),
    Contract("AVAXUSDT", 38.6, 3, 0, 2e5, 7e-4, funding_hours=(FOUR_HOURS,)),
    Contract(
        "1000PEPEUSDT", 0.0013, 7, 0, 2e5, 9e-4,
        funding_hours=(EIGHT_HOURS, (datetime(2024, 2, 10), 4)),
    ),
    Contract("TIAUSDT", 17.5, 3, 0, 1e5, 9e-4, listed=datetime(2024, 2, 13, 8, 30)),
    Contract(
        "WAVESUSDT", 2.6, 4, 1, 3e4, 7e-4, thin=0.03,
        last_trade=datetime(2024, 2, 15, 8, 59), last_bar=datetime(2024, 2, 18, 23, 59),
    ),
    Contract(
        "ICPUSDT", 12.4, 3, 0, 6e4,
        pause=(datetime(2024, 1, 20, 9), datetime(2024, 2, 5, 8)),
    ),
    Contract(
        "币安人生USDT", 0.21, 5, 0, 2e4, 1e-3, thin=0.1, jump=(datetime(2024, 2, 11, 18, 40), 0.6),
    ),
)  # fmt: skip
SYMBOLS = tuple(c.symbol for c in CONTRACTS)


def contracts(count: int) -> tuple[Contract, ...]:
    """So many contracts: the scenario's, then plain ones with names of the universe.

    Raises ValueError for more than there are names.
    """
    names = [name for name in default_symbols() if name not in SYMBOLS]
    if not 0 < count <= len(SYMBOLS) + len(names):
        raise ValueError(f"1 to {len(SYMBOLS) + len(names)} contracts, not {count}")
    return (*CONTRACTS, *map(_plain, names))[:count]


def _plain(symbol: str) -> Contract:
    """A contract without flaws; price, turnover and volatility follow from its name."""
    random = np.random.default_rng((SEED, zlib.crc32(symbol.encode())))
    price = float(10 ** random.uniform(-2, 2))
    decimals = 4 - math.floor(math.log10(price))  # of a tick of 1 / 10,000 to 1 / 100,000
    turnover, volatility = 10 ** random.uniform(4.5, 5.5), random.uniform(5e-4, 1e-3)
    return Contract(symbol, round(price, decimals), decimals, 0, turnover, volatility)


@dataclass(frozen=True)
class Listing:
    """A contract that the exchange names without showing any data of it."""

    symbol: str
    contract_type: str
    status: str
    underlying_type: str
    price: float
    delivery: datetime | None = None


IDLE = (
    Listing("龙虾USDT", "PERPETUAL", "TRADING", "COIN", 0.0421),
    Listing("TSLAUSDT", "TRADIFI_PERPETUAL", "TRADING", "EQUITY", 175.34),
    Listing(
        "SRMUSDT", "PERPETUAL", "SETTLING", "COIN", 0.257, delivery=datetime(2024, 1, 12, 9)
    ),
    Listing(
        "BTCUSDT_240329", "CURRENT_QUARTER", "TRADING", "COIN", 71_000,
        delivery=datetime(2024, 3, 29, 8),
    ),
)  # fmt: skip

# Directories that share a prefix with others; nobody asks for them, but they are listed.
DECOYS = ("BTCUSDT_240329", "ICPUSDTSETTLED")


@dataclass(frozen=True)
class Flaw:
    """Something wrong with the archive, on purpose."""

    name: str
    text: str


FLAWS = (
    Flaw("late listing", "TIAUSDT lists on 2024-02-13 08:30; there is no earlier file"),
    Flaw("delisting", "WAVESUSDT trades until 2024-02-15 09:00; flat empty bars go on for 3 days"),
    Flaw("reused name", "ICPUSDT is delisted on 2024-01-20 09:00, listed anew on 2024-02-05 08:00"),
    Flaw("dislocation", "币安人生USDT jumps by 80 % in one minute on 2024-02-11"),
    Flaw("outage", "nothing trades on 2024-02-20 05:10-07:25; marks and indices are missing"),
    Flaw("short month", "ETHUSDT 1m January lacks the 16th and 19th; daily files have them"),
    Flaw("no header", "all January bar and tick files of ADAUSDT and XRPUSDT are headerless"),
    Flaw("no dataset", "1000PEPEUSDT has no metrics; DOGEUSDT has no premium 1m for January"),
    Flaw("lost day", "SOLUSDT 1m lacks 2024-02-06 everywhere; the 1h file has it"),
    Flaw("funding cycles", "AVAXUSDT settles every 4h; 1000PEPEUSDT changes to 4h on 2024-02-10"),
    Flaw("changed file", "ADAUSDT 1m January is replaced after the first ingest"),
    Flaw(
        "metrics",
        "zeros, empty cells, late rows, twins in a bucket, holes, a short day",
    ),
    Flaw("labels", "metrics files run 00:00-23:55 to 2024-03-03, then 00:05-00:00 of the next day"),
    Flaw("bad files", "LINKUSDT: a stale checksum, a truncated metrics zip, a missing sidecar"),
    Flaw("flat hour", "BNBUSDT 1m is flat and empty on 2024-01-14 13:00; the 1h file is not"),
    Flaw("disorder", "DOGEUSDT 1m January has duplicated and unsorted rows, February is in us"),
    Flaw("other scripts", "币安人生USDT; BTCUSDT_240329 and ICPUSDTSETTLED share prefixes"),
    Flaw("missing marks", "XRPUSDT lacks 90 mark and index minutes on 2024-01-19"),
    Flaw("liquidations", "BTCUSDT and ETHUSDT snapshots of three days, every row written twice"),
    Flaw("tick disorder", "SOLUSDT January ticks alternate between two halves; 400 rows twice"),
    Flaw("lost ticks", "BNBUSDT lacks the ids of 2024-01-23 14:10-14:25 everywhere"),
    Flaw("lost ticks at midnight", "DOGEUSDT lacks the ids of 2024-01-31 23:58 to 00:03"),
    Flaw(
        "empty ticks",
        "ETHUSDT has quantities of 0 on 2024-01-21 02:00-08:00, but a sound daily file; "
        "XRPUSDT on 2024-02-21 10:00-11:00 and no other file",
    ),
    Flaw("short tick month", "AVAXUSDT lacks 2024-02-08, which a daily file has, and 2024-02-09"),
    Flaw("bad tick month", "LINKUSDT: a truncated zip for February, but daily files of every day"),
    Flaw("no tick month", "1000PEPEUSDT has no ticks for January"),
)


def midnight(day: date) -> datetime:
    """The moment when a day begins."""
    return datetime(day.year, day.month, day.day)


def simulated(contract: Contract, end: date = END) -> Market:
    """The market of a contract from START to ``end``, both included."""
    days = (end - START).days + 1
    return simulate(contract, midnight(START), days, seed=SEED, outages=(OUTAGE,))


@cache
def live_market(symbol: str) -> Market:
    """The market of a contract of the scenario to LIVE_END; it begins as the archive's does."""
    return simulated(next(c for c in CONTRACTS if c.symbol == symbol), LIVE_END)


def live_markets(symbols: Iterable[str] = SYMBOLS) -> dict[str, Market]:
    """Markets of several contracts to LIVE_END, each simulated once in a process."""
    return {symbol: live_market(symbol) for symbol in symbols}
