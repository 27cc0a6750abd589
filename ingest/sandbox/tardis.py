"""A loopback vendor: day files of liquidations and derivative tickers, as Tardis serves them.

The vendor records what the exchange pushes: of the liquidations the latest order of each symbol and
second, when the second is over. What arrives after midnight is in the next day's file.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from email.message import Message
from functools import cached_property

import numpy as np

from ingest.sandbox.market import Bools, Floats, Ints, Market, epoch_ms, funding_rate, within
from ingest.sandbox.scenario import midnight
from ingest.sandbox.server import LoopbackServer, Reply, content

LIQUIDATIONS = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount"
TICKER = (
    "exchange,symbol,timestamp,local_timestamp,funding_timestamp,funding_rate,"
    "predicted_funding_rate,open_interest,last_price,index_price,mark_price"
)
_KEY = re.compile(
    r"v1/binance-futures/(liquidations|derivative_ticker)/(\d{4}/\d\d/\d\d)/(\w+)\.csv\.gz"
)

Row = tuple[int, str]  # time of arrival in microseconds, line of the CSV
Outages = Sequence[tuple[datetime, datetime]]


class TardisServer(LoopbackServer):
    """Serves the day files of some markets; they are made when they are asked for.

    Args:
        markets: by symbol; the group file PERPETUALS holds all of them.
        key: what opens days other than the first of a month; None leaves all open.
        outages: spans in which the exchange pushes nothing.

    Attributes:
        replaced: bodies served in place of the usual ones, by path.
    """

    def __init__(
        self,
        markets: Mapping[str, Market],
        *,
        key: str | None = None,
        outages: Outages = (),
        port: int = 0,
    ) -> None:
        super().__init__(port=port)
        self.replaced: dict[str, bytes] = {}
        self._key = key
        self._recordings = {s: _Recording(m, outages) for s, m in markets.items()}
        self._bodies: dict[str, bytes | None] = {}

    def answer(self, path: str, query: str, headers: Message) -> Reply:
        """A file or part of it, 304, 401 without the key, or 404."""
        match = _KEY.fullmatch(path)
        try:
            day = date.fromisoformat(match[2].replace("/", "-")) if match else None
        except ValueError:
            return _refusal(400)
        if match and day:
            if not self._is_open(day, headers):
                return _refusal(401)
            if path not in self._bodies:
                self._bodies[path] = self._body(match[1], day, match[3])
        body = self.replaced.get(path, self._bodies.get(path))
        if body is None:
            return _refusal(404)
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        return content(body, etag, {"Content-Type": "text/csv"}, headers)

    def _is_open(self, day: date, headers: Message) -> bool:
        is_free = day.day == 1 or self._key is None
        return is_free or headers.get("Authorization") == f"Bearer {self._key}"

    def _body(self, dataset: str, day: date, symbol: str) -> bytes | None:
        recordings = [r for s, r in self._recordings.items() if symbol in (s, "PERPETUALS")]
        found = [rows for r in recordings if (rows := r.rows(dataset, day)) is not None]
        if not found:
            return None
        rows = sorted((row for each in found for row in each), key=lambda row: row[0])
        header = LIQUIDATIONS if dataset == "liquidations" else TICKER
        lines = [header, *(line for _, line in rows), ""] if rows else []
        return gzip.compress("\n".join(lines).encode(), mtime=0)


def _refusal(code: int) -> Reply:
    return Reply(code, {"Content-Length": "0"}, b"")


class _Recording:
    """What the vendor has of one market. Times are in microseconds."""

    def __init__(self, market: Market, outages: Outages) -> None:
        self.market, self.outages = market, outages

    def rows(self, dataset: str, day: date) -> list[Row] | None:
        """Rows that arrived on a day, in order; None before the listing and beyond the end."""
        market = self.market
        first = epoch_ms(market.contract.listed or datetime(1970, 1, 1))
        start, end = (epoch_ms(midnight(d)) for d in (day, day + timedelta(days=1)))
        if end <= max(first, market.minutes[0]) or start > market.minutes[-1]:
            return None
        if dataset == "liquidations":
            return self._liquidations(start * 1000, end * 1000)
        return self._tickers(start * 1000, end * 1000)

    @cached_property
    def _pushed(self) -> tuple[Ints, Ints]:
        """Positions of the orders that the exchange pushes, and when they arrive."""
        seconds = self.market.liquidations.times // 1000
        positions = np.flatnonzero(np.diff(seconds, append=np.iinfo(np.int64).max))
        arrivals = _arrivals(1000 * (seconds[positions] + 1))
        order = np.argsort(arrivals, kind="stable")
        return positions[order], arrivals[order]

    def _liquidations(self, start: int, end: int) -> list[Row]:
        contract, orders = self.market.contract, self.market.liquidations
        positions, arrivals = self._pushed
        rows = []
        for n in np.flatnonzero((arrivals >= start) & (arrivals < end)):
            i, arrival = positions[n], int(arrivals[n])
            side = "sell" if orders.sold[i] else "buy"
            price = _decimal(orders.price_ticks[i], contract.price_decimals)
            amount = _decimal(orders.lots[i], contract.lot_decimals)
            line = f"{_start(contract.symbol, orders.times[i], arrival)},,{side},{price},{amount}"
            rows.append((arrival, line))
        return rows

    @cached_property
    def _is_live(self) -> Bools:
        """In which minutes the contract is listed and the exchange is up."""
        live = self.market.has_bar.copy()
        for outage in self.outages:
            live &= ~within(self.market.minutes, outage)
        return live

    @cached_property
    def _estimates(self) -> tuple[Ints, Floats]:
        """By minute: the settlement that it leads to, and the rate as it stands at its end."""
        market = self.market
        next_ = np.searchsorted(market.settle_times, market.minutes, side="right")
        rates = np.empty(len(market.minutes))
        for settlement in np.unique(next_):
            minutes = np.flatnonzero(next_ == settlement)
            weights = np.arange(1, len(minutes) + 1)
            means = np.cumsum(weights * market.premium.close[minutes]) / np.cumsum(weights)
            hours = int(market.settle_hours[settlement])
            rates[minutes] = [funding_rate(mean, hours) for mean in means.tolist()]
        return market.settle_times[next_], rates

    def _tickers(self, start: int, end: int) -> list[Row]:
        """One row a minute, when it is over; open interest is polled every five minutes.

        A day's first row knows the last price only, and those before the first poll no open
        interest.
        """
        market, contract = self.market, self.market.contract
        settlements, rates = self._estimates
        arrivals = _arrivals(market.minutes + 60_000)
        rows: list[Row] = []
        for i in np.flatnonzero(self._is_live & (arrivals >= start) & (arrivals < end)):
            time, arrival = int(market.minutes[i]) + 60_000, int(arrivals[i])
            last = _decimal(market.close_ticks[i], contract.price_decimals)
            cells = f",,,,{last},,"
            if rows:
                sample = int(np.searchsorted(market.sample_times, time, side="right")) - 1
                polled = sample >= 0 and market.sample_times[sample] * 1000 >= start
                interest = f"{market.open_interest[sample]:.{contract.lot_decimals}f}"
                cells = (
                    f"{settlements[i] * 1000},{rates[i]:.8f},,{interest if polled else ''},{last},"
                    f"{market.index.close[i]:.8f},{market.mark.close[i]:.8f}"
                )
            rows.append((arrival, f"{_start(contract.symbol, time, arrival)},{cells}"))
        return rows


def _arrivals(pushed: Ints) -> Ints:
    """When messages pushed at some times (epoch ms) arrive: 10 to 900 ms later."""
    arrivals: Ints = 1000 * pushed + 10_000 + pushed * 48_271 % 890_000
    return arrivals


def _start(symbol: str, time: int, arrival: int) -> str:
    return f"binance-futures,{symbol},{int(time) * 1000},{arrival}"


def _decimal(units: int, decimals: int) -> str:
    """Text of a number counted in units of 10**-decimals."""
    return f"{int(units) / 10**decimals:.{decimals}f}"
