"""A loopback exchange API: market data as the exchange's REST API answers, limits included.

What it says agrees with the archive of the same markets. It has none of the archive's own flaws;
only the minutes of the outage lack mark and index prices here too.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ingest.names import pair
from ingest.sandbox.bars import MINUTE, as_of, klines, prices
from ingest.sandbox.market import (
    SAMPLE_RATE,
    Contract,
    Market,
    alive,
    epoch_ms,
    funding_rate,
    settlement_cycle,
    within,
)
from ingest.sandbox.scenario import IDLE, LIVE_END, OUTAGE, Listing, midnight
from ingest.sandbox.server import Fault, LoopbackServer, Reply, replaced_body, status

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Row = dict[str, Any]
Json = Row | list[Row] | list[list[Any]]

HOUR = 60 * MINUTE
DAY = 24 * HOUR
INTERVALS = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360,
    "8h": 480, "12h": 720, "1d": 1440,
}  # fmt: skip
PERIODS = {name: n for name, n in INTERVALS.items() if name not in ("1m", "3m", "8h")}
REACH = 30 * DAY  # how far back the statistics of /futures/data go
MARK_PRICES_SINCE = epoch_ms(datetime(2024, 2, 1))  # older settlements came without one
RATE_TYPES_SINCE = epoch_ms(datetime(2024, 3, 9))
NEVER = 4133404800000  # delivery date of a perpetual

_SERIES = {
    "fapi/v1/klines": None,
    "fapi/v1/markPriceKlines": "mark",
    "fapi/v1/indexPriceKlines": "index",
    "fapi/v1/premiumIndexKlines": "premium",
}


@dataclass(frozen=True)
class Limits:
    """What one address may ask for in windows that begin at multiples of their length.

    Args:
        weight: request weight per ``weight_seconds``.
        funding: requests of funding rates and funding info per ``funding_seconds``.
        data: requests of statistics below /futures/data per ``data_seconds``.
        patience: refusals of a window (429) before asking on brings a ban (418).
        ban_seconds: how long a ban lasts.
    """

    weight: int = 2400
    weight_seconds: float = 60
    funding: int = 500
    funding_seconds: float = 300
    data: int = 1000
    data_seconds: float = 300
    patience: int = 5
    ban_seconds: float = 120


class Bucket:
    """Counts what was asked for in each window of wall-clock time.

    Attributes:
        used: weight per window, refused requests included; windows are numbered since 1970.
        refused: refusals per window.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self.most, self.seconds = most, seconds
        self.used: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()

    def take(self, weight: int, at: float) -> float:
        """Count a request; returns the seconds until it may be asked again, 0 if it is allowed."""
        window = int(at // self.seconds)
        self.used[window] += weight
        if self.used[window] <= self.most:
            return 0
        self.refused[window] += 1
        return (window + 1) * self.seconds - at

    def used_now(self, at: float) -> int:
        """Weight used in the window of this moment."""
        return self.used[int(at // self.seconds)]

    def refused_now(self, at: float) -> int:
        """Refusals in the window of this moment."""
        return self.refused[int(at // self.seconds)]


# ------------------------------------------------------------------------------------ the faults
def api_error(code: int, message: str, *, http: int = 400) -> Fault:
    """Answer with an error body; with ``http=200`` only the body tells that it is one."""
    return status(http, {"Content-Type": "application/json"}, _json(_error(code, message)))


def html_page() -> Fault:
    """Answer 200 with a web page, as a proxy or a maintenance page would."""
    return replaced_body(_PAGE, {"Content-Type": "text/html"})


def firewall() -> Fault:
    """Answer as the web application firewall does: 403 and a page."""
    return status(403, {"Content-Type": "text/html"}, _PAGE)


def restricted_location() -> Fault:
    """Answer as the exchange does where it offers no service: 451."""
    return api_error(0, "Service unavailable from a restricted location.", http=451)


def unavailable(http: int = 503) -> Fault:
    """Answer that the exchange cannot answer now: a 5xx status."""
    return api_error(-1001, "Internal error; unable to process your request.", http=http)


_PAGE = b"<!DOCTYPE html><html><head><title>Exchange</title></head><body>Sorry.</body></html>"


# ------------------------------------------------------------------------------------ the server
class RestServer(LoopbackServer):
    """Answers the public market data requests of the exchange.

    Args:
        markets: by symbol; the server names further contracts of which it has no data.
        now: the exchange's clock in epoch ms. It must not run past the end of the markets.
        limits: counted by the wall clock, not by ``now``.

    Attributes:
        weight: bucket of request weight.
        funding: bucket of funding requests.
        data: bucket of requests below /futures/data.
    """

    def __init__(
        self,
        markets: Mapping[str, Market],
        *,
        now: Callable[[], int],
        limits: Limits = Limits(),
        port: int = 0,
    ) -> None:
        super().__init__(port=port)
        self.markets = markets
        self.now = now
        self.limits = limits
        self.weight = Bucket(limits.weight, limits.weight_seconds)
        self.funding = Bucket(limits.funding, limits.funding_seconds)
        self.data = Bucket(limits.data, limits.data_seconds)
        self._banned_until = 0.0

    @property
    def api_url(self) -> str:
        """Address below which ``/fapi/v1/...`` and ``/futures/data/...`` lie."""
        return self.url

    def answer(self, path: str, query: str, headers: Message) -> Reply:
        """A body of JSON, or an error of the exchange."""
        asked = _Query(query)
        sent = {"Content-Type": "application/json"}
        try:
            sent |= self._admit(path, asked)
            code, body = 200, self._body(path, asked)
        except _Refused as refusal:
            code, body = refusal.http, _error(refusal.code, str(refusal))
            sent |= refusal.headers
        content = _json(body)
        return Reply(code, {**sent, "Content-Length": str(len(content))}, content)

    def _admit(self, path: str, asked: _Query) -> dict[str, str]:
        """Count the request; returns the headers that tell of it, or raises."""
        bucket, weight = self.weight, 1
        if path in ("fapi/v1/fundingRate", "fapi/v1/fundingInfo"):
            bucket = self.funding
        elif path.startswith("futures/data/"):
            bucket = self.data
        elif path in _SERIES:
            limit = asked.claimed_limit(500)
            weight = 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10
        elif path == "fapi/v1/premiumIndex" and "symbol" not in asked.values:
            weight = 10
        at = time.time()
        with self.lock:
            banned = self._banned_until - at
            wait = 0.0 if banned > 0 else bucket.take(weight, at)
            if wait and bucket.refused_now(at) > self.limits.patience:
                self._banned_until = at + self.limits.ban_seconds
                banned = self.limits.ban_seconds
            used = self.weight.used_now(at)
        headers = {} if bucket is self.funding else {"x-mbx-used-weight-1m": str(used)}
        if banned > 0:
            until = int((at + banned) * 1000)
            raise _Refused(
                -1003,
                f"Way too many requests; IP(127.0.0.1) banned until {until}. Please use the "
                "websocket for live updates to avoid bans.",
                http=418,
                headers={**headers, "Retry-After": str(math.ceil(banned))},
            )
        if wait:
            raise _Refused(
                -1003,
                f"Too many requests; current limit of IP(127.0.0.1) is {bucket.most} requests per "
                f"{bucket.seconds:g} seconds. Please use the websocket for live updates to avoid "
                "polling the API.",
                http=429,
                headers={**headers, "Retry-After": str(math.ceil(wait))},
            )
        return headers

    def _body(self, path: str, asked: _Query) -> Json:
        now = self.now()
        if path in _SERIES:
            return self._klines(_SERIES[path], asked, now)
        if path in _STATISTICS:
            return self._statistics(asked, now, _STATISTICS[path])
        match path:
            case "fapi/v1/ping":
                return {}
            case "fapi/v1/time":
                return {"serverTime": now}
            case "fapi/v1/exchangeInfo":
                return self._exchange_info(now)
            case "fapi/v1/fundingInfo":
                return self._funding_info(now)
            case "fapi/v1/premiumIndex":
                return self._premium_index(asked, now)
            case "fapi/v1/openInterest":
                return self._open_interest(asked, now)
            case "fapi/v1/fundingRate":
                return self._funding_rates(asked, now)
        raise _Refused(-5000, f"Path /{path}, Method GET is invalid", http=404)

    # ---------------------------------------------------------------------------- the contracts
    def _listed(self, now: int) -> list[Market]:
        """Markets whose contract was listed by now, in their order."""
        return [m for m in self.markets.values() if now >= _onboard(m, now)]

    def _idle(self) -> list[Listing]:
        return [listing for listing in IDLE if listing.symbol not in self.markets]

    def _market(self, symbol: str, now: int) -> Market | None:
        """The market of a symbol, None if there are no data of it."""
        market = self.markets.get(symbol)
        if market is not None and now >= _onboard(market, now):
            return market
        if any(symbol == listing.symbol for listing in self._idle()):
            return None
        raise _Refused(-1121, "Invalid symbol.")

    def _exchange_info(self, now: int) -> Row:
        limits = self.limits
        minutes = limits.weight_seconds == 60
        symbols = [
            _symbol(
                m.contract.symbol,
                "PERPETUAL",
                "TRADING" if alive(m.contract, np.array([now]))[0] else "SETTLING",
                "COIN",
                onboard=_onboard(m, now),
                delivery=_delivery(m.contract, now),
                price=float(m.close_ticks[0]) / 10**m.contract.price_decimals,
                price_decimals=m.contract.price_decimals,
                lot_decimals=m.contract.lot_decimals,
            )
            for m in self._listed(now)
        ]
        symbols += [
            _symbol(
                listing.symbol,
                listing.contract_type,
                listing.status,
                listing.underlying_type,
                onboard=epoch_ms(datetime(2023, 9, 29, 8)),
                delivery=epoch_ms(listing.delivery) if listing.delivery else NEVER,
                price=listing.price,
                price_decimals=4,
                lot_decimals=2,
            )
            for listing in self._idle()
        ]
        return {
            "timezone": "UTC",
            "serverTime": now,
            "futuresType": "U_MARGINED",
            "rateLimits": [
                {
                    "rateLimitType": "REQUEST_WEIGHT",
                    "interval": "MINUTE" if minutes else "SECOND",
                    "intervalNum": 1 if minutes else int(limits.weight_seconds),
                    "limit": limits.weight,
                },
            ],
            "exchangeFilters": [],
            "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
            "symbols": symbols,
        }

    def _funding_info(self, now: int) -> list[Row]:
        rows = []
        for market in self._listed(now):
            _, hours = _next_settlement(market.contract, now)
            if hours != 8:
                rows.append(
                    {
                        "symbol": market.contract.symbol,
                        "adjustedFundingRateCap": "0.02000000",
                        "adjustedFundingRateFloor": "-0.02000000",
                        "fundingIntervalHours": hours,
                        "disclaimer": False,
                        "updateTime": None,
                    }
                )
        return rows

    def _premium_index(self, asked: _Query, now: int) -> Json:
        if "symbol" not in asked.values:
            rows = [_premium(m, now) for m in self._listed(now)]
            return rows + [_idle_premium(listing, now) for listing in self._idle()]
        symbol = asked.text("symbol")
        if market := self._market(symbol, now):
            return _premium(market, now)
        return next(_idle_premium(x, now) for x in self._idle() if x.symbol == symbol)

    def _open_interest(self, asked: _Query, now: int) -> Row:
        symbol = asked.text("symbol")
        market = self._market(symbol, now)
        text = "0.00"
        if market:
            known = np.flatnonzero(_known(market, now))
            value = market.open_interest[known[-1]] if len(known) else 0
            text = f"{value:.{market.contract.lot_decimals}f}"
        return {"symbol": symbol, "openInterest": text, "time": now}

    # ------------------------------------------------------------------------------- the series
    def _klines(self, series: str | None, asked: _Query, now: int) -> list[list[Any]]:
        name = "pair" if series == "index" else "symbol"
        market = self._market(asked.text(name), now)
        step = asked.choice("interval", INTERVALS)
        limit = asked.limit(500, 1500)
        start, end = asked.span()
        if market is None:
            return []
        shown = market.has_bar & (market.minutes <= now)
        if step == 1 and series in ("mark", "index"):
            shown &= ~within(market.minutes, OUTAGE)
        bars = market.minutes[shown] // (step * MINUTE) * (step * MINUTE)
        bars = bars[np.flatnonzero(np.diff(bars, prepend=-1))]
        bars = bars[_page(bars, start, end, limit)]
        if not len(bars):
            return []
        chosen = shown & (market.minutes >= bars[0])
        chosen &= market.minutes < bars[-1] + step * MINUTE
        view = as_of(market, chosen, now)
        if series is None:
            c = market.contract
            p, q, both = c.price_decimals, c.lot_decimals, c.price_decimals + c.lot_decimals
            return _rows(klines(view, view.has_bar, step), (p, p, p, p, q), (both, q, both))
        table = prices(view, getattr(view, series), view.has_bar, step)
        return _rows(table, (8, 8, 8, 8, 0), (0, 0, 0))

    def _funding_rates(self, asked: _Query, now: int) -> list[Row]:
        limit = asked.limit(200, 1000)
        start, end = asked.span()
        if "symbol" in asked.values:
            market = self._market(asked.text("symbol"), now)
            markets = [market] if market else []
        else:
            markets = self._listed(now)
        rows = sorted((row for m in markets for row in _settlements(m, now)), key=_funding_time)
        times = np.array([row["fundingTime"] for row in rows], np.int64)
        return rows[_page(times, start, end, limit)]

    def _statistics(
        self, asked: _Query, now: int, row: Callable[[Market, int, int], Row]
    ) -> list[Row]:
        """Rows of five minutes or longer periods.

        Args:
            row: makes one of a market, the index of its sample, and the samples in the period.
        """
        market = self._market(asked.text("symbol"), now)
        period = asked.choice("period", PERIODS, "Invalid period.")
        limit = asked.limit(30, 500)
        start, end = asked.span()
        if start is not None and start < now - REACH:
            raise _Refused(-1130, "parameter 'startTime' is invalid.")
        if start is not None and end is None:
            raise _missing("endTime")
        if market is None:
            return []
        shown = _known(market, now) & (market.sample_times >= now - REACH)
        shown &= market.sample_times % (period * MINUTE) == 0
        samples = np.flatnonzero(shown)
        # A span of more rows than the limit loses its oldest ones.
        page = _page(market.sample_times[samples], start, end, limit, last=True)
        return [row(market, int(i), period // SAMPLE_RATE) for i in samples[page]]


def running_clock(start: datetime) -> Callable[[], int]:
    """A clock that runs with the wall clock from ``start`` on, up to the live markets' end."""
    begun = time.monotonic()
    last = epoch_ms(midnight(LIVE_END)) + DAY - 1
    return lambda: min(epoch_ms(start) + int((time.monotonic() - begun) * 1000), last)


# ---------------------------------------------------------------------------------- the requests
class _Refused(Exception):
    """The exchange answers with an error."""

    def __init__(
        self, code: int, message: str, *, http: int = 400, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.http, self.headers = code, http, headers or {}


def _missing(name: str) -> _Refused:
    return _Refused(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


class _Query:
    """Parameters of a request."""

    def __init__(self, text: str) -> None:
        self.values = dict(parse_qsl(text))

    def text(self, name: str) -> str:
        if name not in self.values:
            raise _missing(name)
        return self.values[name]

    def choice(
        self, name: str, choices: Mapping[str, int], message: str = "Invalid interval."
    ) -> int:
        value = self.text(name)
        if value not in choices:
            raise _Refused(-1120, message)
        return choices[value]

    def claimed_limit(self, default: int) -> int:
        """The limit as it was sent, without judging it."""
        text = self.values.get("limit", "")
        return int(text) if text.isdecimal() else default

    def limit(self, default: int, most: int) -> int:
        value = self.claimed_limit(default)
        if str(value) != self.values.get("limit", str(value)) or not 1 <= value <= most:
            raise _Refused(-1130, "Data sent for parameter 'limit' is not valid.")
        return value

    def span(self) -> tuple[int | None, int | None]:
        """Start and end in epoch ms, both included; None where not given."""
        times: list[int | None] = []
        for name in ("startTime", "endTime"):
            text = self.values.get(name)
            if text is not None and not text.isdecimal():
                raise _Refused(-1130, f"Data sent for parameter '{name}' is not valid.")
            times.append(int(text) if text is not None else None)
        start, end = times
        if start is not None and end is not None and start > end:
            raise _Refused(-1023, "Start time is greater than end time.")
        return start, end


def _page(
    times: Ints, start: int | None, end: int | None, limit: int, *, last: bool = False
) -> slice:
    """Which of the ascending ``times`` to send: the first from ``start`` on, if there is one.

    Without a start, or where ``last`` is set, those before ``end``.
    """
    first = 0 if start is None else int(np.searchsorted(times, start))
    after = len(times) if end is None else int(np.searchsorted(times, end, "right"))
    if start is not None and not last:
        return slice(first, min(after, first + limit))
    return slice(max(first, after - limit), after)


# ------------------------------------------------------------------------------------ the bodies
def _json(body: Json) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _error(code: int, message: str) -> Row:
    return {"code": code, "msg": message}


def _rows(table: pa.Table, first: tuple[int, ...], last: tuple[int, ...]) -> list[list[Any]]:
    """Kline rows with numbers as text.

    Args:
        first: decimals of the columns 1 to 5.
        last: decimals of the columns 7, 9 and 10.
    """
    decimals = dict(zip((1, 2, 3, 4, 5, 7, 9, 10, 11), (*first, *last, 0), strict=True))
    columns: Iterable[list[Any]] = (
        [f"{x:.{decimals[i]}f}" for x in column.to_pylist()]
        if i in decimals
        else column.to_pylist()
        for i, column in enumerate(table.columns)
    )
    return [list(row) for row in zip(*columns, strict=True)]


def _symbol(
    symbol: str,
    contract_type: str,
    state: str,
    underlying_type: str,
    *,
    onboard: int,
    delivery: int,
    price: float,
    price_decimals: int,
    lot_decimals: int,
) -> Row:
    """One contract as the exchange describes it."""
    base = pair(symbol).removesuffix("USDT")
    lot = f"{10.0**-lot_decimals:.{lot_decimals}f}"
    return {
        "symbol": symbol,
        "pair": pair(symbol),
        "contractType": contract_type,
        "deliveryDate": delivery,
        "onboardDate": onboard,
        "status": state,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": price_decimals,
        "quantityPrecision": lot_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": underlying_type,
        "underlyingSubType": ["TradFi"] if contract_type.startswith("TRADIFI") else [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": f"{price / 100:.{price_decimals}f}",
                "maxPrice": f"{price * 100:.{price_decimals}f}",
                "tickSize": f"{10.0**-price_decimals:.{price_decimals}f}",
            },
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "10000000", "stepSize": lot},
            {"filterType": "MARKET_LOT_SIZE", "minQty": lot, "maxQty": "1000000", "stepSize": lot},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": "1.0500",
                "multiplierDown": "0.9500",
                "multiplierDecimal": "4",
            },
            {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY"],
    }


def _onboard(market: Market, now: int) -> int:
    """When the contract was listed, for the last time if it was more than once."""
    c = market.contract
    if c.pause and now >= epoch_ms(c.pause[1]):
        return epoch_ms(c.pause[1])
    return epoch_ms(c.listed) if c.listed else int(market.minutes[0])


def _delivery(contract: Contract, now: int) -> int:
    """When the contract ended, as far as that is known by now."""
    if contract.last_trade and now > epoch_ms(contract.last_trade):
        return epoch_ms(contract.last_trade) + MINUTE
    if contract.pause and within(np.array([now]), contract.pause)[0]:
        return epoch_ms(contract.pause[0])
    return NEVER


def _known(market: Market, now: int) -> Bools:
    """Which samples of the contract's life the exchange knows at ``now``."""
    known: Bools = alive(market.contract, market.sample_times)
    return known & (market.sample_times <= now)


def _funding_time(row: Row) -> int:
    return int(row["fundingTime"])


def _settlements(market: Market, now: int) -> list[Row]:
    """All settlements by ``now``; what a row holds has changed over time."""
    stamped = market.settle_times + market.settle_jitter
    rows: list[Row] = []
    for i in np.flatnonzero(alive(market.contract, market.settle_times) & (stamped <= now)):
        settled = int(market.settle_times[i])
        before = (settled - int(market.minutes[0])) // MINUTE - 1
        row: Row = {
            "symbol": market.contract.symbol,
            "fundingTime": int(stamped[i]),
            "fundingRate": f"{market.settle_rates[i]:.8f}",
            "markPrice": "",
        }
        if settled >= MARK_PRICES_SINCE:
            row["markPrice"] = f"{market.mark.close[before]:.8f}"
        if settled >= RATE_TYPES_SINCE:
            row["rateType"] = "NORMAL"
        rows.append(row)
    return rows


def _next_settlement(contract: Contract, now: int) -> tuple[int, int]:
    """Time (epoch ms) of the next settlement, and the hours of the cycle it belongs to."""
    moment = now // HOUR * HOUR
    while True:
        moment += HOUR
        hours = settlement_cycle(contract, moment)
        if moment % (hours * HOUR) == 0:
            return moment, hours


def _premium(market: Market, now: int) -> Row:
    """Prices and the running funding rate of a contract; the last ones if it ended."""
    contract = market.contract
    minute = np.flatnonzero(market.has_bar & (market.minutes <= now))[-1]
    view = as_of(market, market.minutes == market.minutes[minute], now)
    following, hours = _next_settlement(contract, now)
    average, rate = 0.0, 0.0
    if alive(contract, np.array([now]))[0]:
        average = float(market.index.close[max(minute - 30, 0) : minute + 1].mean())
        settled = market.settle_times[market.settle_times <= now]
        since = settled[-1] if len(settled) else market.minutes[0]
        window = market.premium.close[(market.minutes >= since) & (market.minutes <= now)]
        weights = np.arange(1, len(window) + 1)
        rate = funding_rate(float((weights * window).sum() / weights.sum()), hours)
    return {
        "symbol": contract.symbol,
        "markPrice": f"{view.mark.close[-1]:.8f}",
        "indexPrice": f"{view.index.close[-1]:.8f}",
        "estimatedSettlePrice": f"{average:.8f}",
        "lastFundingRate": f"{rate:.8f}",
        "interestRate": "0.00010000",
        "nextFundingTime": following,
        "time": now,
    }


def _idle_premium(listing: Listing, now: int) -> Row:
    perpetual = listing.contract_type.endswith("PERPETUAL")
    price = f"{listing.price:.8f}"
    return {
        "symbol": listing.symbol,
        "markPrice": price,
        "indexPrice": price,
        "estimatedSettlePrice": price if listing.status == "TRADING" else "0.00000000",
        "lastFundingRate": "0.00000000" if perpetual else "",
        "interestRate": "0.00010000" if perpetual else "",
        "nextFundingTime": (now // (8 * HOUR) + 1) * 8 * HOUR if perpetual else 0,
        "time": now,
    }


def _open_interest_row(market: Market, i: int, _: int) -> Row:
    return {
        "symbol": market.contract.symbol,
        "sumOpenInterest": f"{market.open_interest[i]:.8f}",
        "sumOpenInterestValue": f"{market.open_interest_value[i]:.8f}",
        "CMCCirculatingSupply": "19645678.00000000",
        "timestamp": int(market.sample_times[i]),
    }


def _ratio_row(column: int) -> Callable[[Market, int, int], Row]:
    def row(market: Market, i: int, _: int) -> Row:
        ratio = market.ratios[i, column]
        share = round(ratio / (1 + ratio), 4)
        return {
            "symbol": market.contract.symbol,
            "longAccount": f"{share:.4f}",
            "longShortRatio": f"{ratio:.8f}",
            "shortAccount": f"{1 - share:.4f}",
            "timestamp": int(market.sample_times[i]),
        }

    return row


def _taker_row(market: Market, i: int, width: int) -> Row:
    minutes = slice(max(i + 1 - width, 0) * SAMPLE_RATE, (i + 1) * SAMPLE_RATE)
    bought = int(market.buy_lots[minutes].sum())
    sold = int(market.lots[minutes].sum()) - bought
    lot = 10**market.contract.lot_decimals
    return {
        "buySellRatio": f"{bought / sold if sold else 0:.8f}",
        "sellVol": f"{sold / lot:.4f}",
        "buyVol": f"{bought / lot:.4f}",
        "timestamp": int(market.sample_times[i]),
    }


_STATISTICS = {
    "futures/data/openInterestHist": _open_interest_row,
    "futures/data/topLongShortAccountRatio": _ratio_row(0),
    "futures/data/topLongShortPositionRatio": _ratio_row(1),
    "futures/data/globalLongShortAccountRatio": _ratio_row(2),
    "futures/data/takerlongshortRatio": _taker_row,
}
