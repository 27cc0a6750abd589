"""The exchange's REST API through ccxt, paced by the exchange's own limits.

ccxt's unified calls drop columns (quote volume, trade count, taker volumes), so its implicit ones
are used: one method per endpoint, the exchange's parameters and bodies as they are.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Literal

import ccxt
import ccxt.async_support
import pyarrow as pa

from ingest.datasets import API, Dataset
from ingest.errors import PerpError
from ingest.names import pair
from ingest.sources.downloads import Failed, Retry, Transient, parse_retry_after

log = logging.getLogger(__name__)

Bucket = Literal["weight", "funding", "data"]
Row = tuple[Any, ...]
_MARGIN = 0.95  # share of a limit that is used: clocks and networks are not exact
_LONGEST_WAIT_SECONDS = 300.0
_TIMEOUT_MS = 30_000


@dataclass(frozen=True)
class Limits:
    """What the exchange allows per address, in windows of so many seconds."""

    weight: int = 2400
    weight_seconds: float = 60
    funding_requests: int = 500  # fundingRate and fundingInfo together
    funding_seconds: float = 300
    data_requests: int = 1000  # everything under /futures/data
    data_seconds: float = 300


class Waiting:
    """Measures for how long something was waited for, by one or by several at once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._waiting = 0

    async def sleep(self, seconds: float) -> None:
        """Wait; what others wait meanwhile counts once."""
        if self._waiting == 0:
            self._since = time.monotonic()
        self._waiting += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting -= 1
            if self._waiting == 0:
                self.seconds += time.monotonic() - self._since


class Limiter:
    """Lets through at most ``capacity`` in any ``seconds``, in the order of asking."""

    def __init__(self, capacity: float, seconds: float, waiting: Waiting) -> None:
        self._capacity, self._seconds, self._waiting = capacity, seconds, waiting
        self._taken: deque[tuple[float, float]] = deque()  # (when, how much)
        self._used = 0.0
        self._blocked_until = 0.0
        self._turn = asyncio.Lock()

    async def take(self, cost: float) -> None:
        """Wait until ``cost`` fits, and take it."""
        async with self._turn:
            while (wait := self._wait(cost)) > 0:
                await self._waiting.sleep(wait)
            self._taken.append((time.monotonic(), cost))
            self._used += cost

    def _wait(self, cost: float) -> float:
        now = time.monotonic()
        while self._taken and self._taken[0][0] <= now - self._seconds:
            self._used -= self._taken.popleft()[1]
        if self._blocked_until > now:
            return self._blocked_until - now
        if self._used + cost <= self._capacity or not self._taken:
            return 0.0
        return self._taken[0][0] + self._seconds - now + 0.001

    def block(self, seconds: float) -> None:
        """Let nothing through for a while."""
        self._blocked_until = max(self._blocked_until, time.monotonic() + seconds)


@dataclass(frozen=True)
class Endpoint:
    """How to ask for a dataset and to read the answer.

    Args:
        dataset: what the rows become.
        method: ccxt's implicit method.
        row: one element of the answer -> the columns of the dataset's schema.
        page: rows to ask for at once; fewer rows cost less, but not in proportion.
        weight: cost of a request in its bucket.
        fixed: parameters that do not change.
        per_pair: the parameter is the pair, not the contract.
        reach: how far back the exchange answers.
        lateness: how long after its time a row may still appear.
    """

    dataset: Dataset
    method: str
    row: Callable[[Any], Row]
    page: int
    weight: int = 1
    bucket: Bucket = "weight"
    fixed: Mapping[str, Any] = field(default_factory=dict)
    per_pair: bool = False
    reach: timedelta | None = None
    lateness: timedelta = timedelta(minutes=5)

    def params(self, symbol: str, start: datetime, end: datetime) -> dict[str, Any]:
        """Parameters of a request for rows in [start, end); times are naive UTC."""
        name = {"pair": pair(symbol)} if self.per_pair else {"symbol": symbol}
        return {
            **name,
            **self.fixed,
            "startTime": to_ms(start),
            "endTime": to_ms(end) - 1,
            "limit": self.page,
        }

    def table(self, rows: list[Any]) -> pa.Table:
        """Rows of the answer in the lake's schema; raises Failed for what it cannot read."""
        return to_table(self.dataset, rows, self.row)


def to_ms(moment: datetime) -> int:
    """Epoch milliseconds of a naive UTC time."""
    return round(moment.replace(tzinfo=UTC).timestamp() * 1000)


def from_ms(value: Any) -> datetime | None:  # noqa: ANN401 (as the exchange sends it)
    """Naive UTC time of epoch milliseconds; None for 0 and for nothing."""
    ms = int(value or 0)
    return datetime.fromtimestamp(ms / 1000, UTC).replace(tzinfo=None) if ms else None


def number(value: Any) -> float | None:  # noqa: ANN401
    """A number that may be sent as text; None for nothing, and for what is not finite."""
    if value is None or value == "":
        return None
    result = float(value)
    return result if math.isfinite(result) else None


def to_table(dataset: Dataset, rows: list[Any], row: Callable[[Any], Row]) -> pa.Table:
    """Rows read by ``row`` in the dataset's schema; raises Failed for what it cannot read."""
    schema = dataset.schema
    try:
        columns = list(zip(*(row(r) for r in rows), strict=True)) or [()] * len(schema)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
        table = pa.Table.from_arrays(arrays, schema=schema)
        table.validate(full=True)
    except (LookupError, TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        raise Failed(
            f"the answer for {dataset.name} is not understood ({error}); its first row is "
            f"{str(rows[0])[:200]}", 1
        ) from error  # fmt: skip
    for name, column in zip(schema.names, table.columns, strict=True):
        if column.null_count and not schema.field(name).nullable:
            raise Failed(f"the answer for {dataset.name} lacks {name} in some rows", 1)
    return table


# ----------------------------------------------------------------------------------- the answers
def _bar(r: Any) -> Row:  # noqa: ANN401
    return (
        from_ms(r[0]), *map(number, r[1:6]), from_ms(r[6]), number(r[7]), int(r[8]),
        number(r[9]), number(r[10]),
    )  # fmt: skip


def _price_bar(r: Any) -> Row:  # noqa: ANN401
    return from_ms(r[0]), *map(number, r[1:5]), from_ms(r[6])


def _settlement(r: Any) -> Row:  # noqa: ANN401
    return (
        from_ms(r["fundingTime"]), number(r["fundingRate"]), number(r.get("markPrice")),
        r.get("rateType"),
    )  # fmt: skip


def _open_interest(r: Any) -> Row:  # noqa: ANN401
    return (
        from_ms(r["timestamp"]), number(r["sumOpenInterest"]), number(r["sumOpenInterestValue"])
    )  # fmt: skip


def _ratio(r: Any) -> Row:  # noqa: ANN401
    return (
        from_ms(r["timestamp"]), number(r["longShortRatio"]),
        number(r.get("longAccount", r.get("longPosition"))),
        number(r.get("shortAccount", r.get("shortPosition"))),
    )  # fmt: skip


def _taker(r: Any) -> Row:  # noqa: ANN401
    return (
        from_ms(r["timestamp"]), number(r["buySellRatio"]), number(r["buyVol"]),
        number(r["sellVol"]),
    )  # fmt: skip


def _bars() -> list[Endpoint]:
    methods = {
        "klines": "fapiPublicGetKlines",
        "mark_price_klines": "fapiPublicGetMarkPriceKlines",
        "index_price_klines": "fapiPublicGetIndexPriceKlines",
        "premium_index_klines": "fapiPublicGetPremiumIndexKlines",
    }
    return [
        Endpoint(
            dataset=API[f"{name}_{interval}"],
            method=method,
            row=_bar if name == "klines" else _price_bar,
            page=1000,
            weight=5,
            fixed={"interval": interval},
            per_pair=name == "index_price_klines",
        )
        for name, method in methods.items()
        for interval in ("1m", "1h")
    ]


def _data(dataset: str, method: str, row: Callable[[Any], Row]) -> Endpoint:
    return Endpoint(
        dataset=API[dataset],
        method=f"fapiDataGet{method}",
        row=row,
        page=500,
        bucket="data",
        fixed={"period": "5m"},
        reach=timedelta(days=30),
        lateness=timedelta(minutes=30),
    )


ENDPOINTS: dict[str, Endpoint] = {
    e.dataset.name: e
    for e in (
        *_bars(),
        Endpoint(
            dataset=API["funding_rate"],
            method="fapiPublicGetFundingRate",
            row=_settlement,
            page=1000,
            bucket="funding",
            lateness=timedelta(minutes=30),
        ),
        _data("open_interest_5m", "OpenInterestHist", _open_interest),
        _data("top_position_ratio_5m", "TopLongShortPositionRatio", _ratio),
        _data("top_account_ratio_5m", "TopLongShortAccountRatio", _ratio),
        _data("global_account_ratio_5m", "GlobalLongShortAccountRatio", _ratio),
        _data("taker_ratio_5m", "TakerlongshortRatio", _taker),
    )
}


def exchange_info_table(body: Any, moment: datetime) -> pa.Table:  # noqa: ANN401
    """Every contract of an ``exchangeInfo`` body."""

    def row(r: Any) -> Row:  # noqa: ANN401
        filters = {f["filterType"]: f for f in r.get("filters", [])}
        return (
            moment, r["symbol"], r["pair"], r["contractType"], r["status"],
            from_ms(r.get("onboardDate")), from_ms(r.get("deliveryDate")), r["baseAsset"],
            r["quoteAsset"], r["marginAsset"], r.get("underlyingType"),
            ",".join(r.get("underlyingSubType") or []) or None,
            number(filters.get("PRICE_FILTER", {}).get("tickSize")),
            number(filters.get("LOT_SIZE", {}).get("stepSize")),
            number(filters.get("MIN_NOTIONAL", {}).get("notional")),
            number(r.get("liquidationFee")), number(r.get("marketTakeBound")),
        )  # fmt: skip

    return to_table(API["exchange_info"], body["symbols"], row)


def funding_info_table(body: Any, moment: datetime) -> pa.Table:  # noqa: ANN401
    """Contracts with settings of their own in a ``fundingInfo`` body; others settle 8-hourly."""

    def row(r: Any) -> Row:  # noqa: ANN401
        return (
            moment, r["symbol"], int(r["fundingIntervalHours"]),
            number(r.get("adjustedFundingRateCap")), number(r.get("adjustedFundingRateFloor")),
        )  # fmt: skip

    return to_table(API["funding_info"], body, row)


def premium_index_table(body: Any, moment: datetime) -> pa.Table:  # noqa: ANN401
    """Every contract of a ``premiumIndex`` body."""

    def row(r: Any) -> Row:  # noqa: ANN401
        return (
            moment, r["symbol"], from_ms(r["time"]), number(r["markPrice"]),
            number(r["indexPrice"]), number(r.get("estimatedSettlePrice")),
            number(r.get("lastFundingRate")), number(r.get("interestRate")),
            from_ms(r.get("nextFundingTime")),
        )  # fmt: skip

    return to_table(API["premium_index"], body if isinstance(body, list) else [body], row)


def open_interest_table(bodies: list[Any], moment: datetime) -> pa.Table:
    """One row for each ``openInterest`` body."""

    def row(r: Any) -> Row:  # noqa: ANN401
        return moment, r["symbol"], from_ms(r["time"]), number(r["openInterest"])

    return to_table(API["open_interest"], bodies, row)


# ------------------------------------------------------------------------------------ the client
class Refused(PerpError):
    """The exchange does not answer this address at all."""


class _Connection(ccxt.async_support.binanceusdm):  # type: ignore[misc]
    """A ccxt exchange that remembers the status and the headers of its last reply."""

    status = 0
    reply_headers: Mapping[str, str] = {}

    def on_rest_response(
        self,
        code: int,
        reason: str,
        url: str,
        method: str,
        response_headers: Mapping[str, str],
        response_body: str,
        request_headers: Mapping[str, str],
        request_body: str | None,
    ) -> str:
        self.status = code
        self.reply_headers = {k.lower(): v for k, v in response_headers.items()}
        return response_body.strip()


class BinanceApi:
    """Client of the public endpoints. Use as an async context manager.

    Args:
        api_url: address that ``/fapi/v1`` and ``/futures/data`` lie under.
        connections: most simultaneous requests.
        retry: how often and how patiently a request is repeated.
        limits: what the exchange allows.
    """

    def __init__(
        self,
        api_url: str,
        *,
        connections: int = 4,
        retry: Retry | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.api_url = api_url
        self.connections = connections
        self.requests = 0
        self._retry = retry or Retry()
        limits = limits or Limits()
        self._limits = limits
        self._waiting = waiting = Waiting()
        self._limiters: dict[Bucket, Limiter] = {
            "weight": Limiter(_MARGIN * limits.weight, limits.weight_seconds, waiting),
            "funding": Limiter(_MARGIN * limits.funding_requests, limits.funding_seconds, waiting),
            "data": Limiter(_MARGIN * limits.data_requests, limits.data_seconds, waiting),
        }
        self._idle: asyncio.Queue[_Connection] = asyncio.Queue()
        self._refused: Refused | None = None

    @property
    def waited(self) -> float:
        """Seconds in which at least one request has waited for the exchange's limits."""
        return self._waiting.seconds

    async def __aenter__(self) -> BinanceApi:
        for _ in range(self.connections):
            connection = _Connection({"enableRateLimit": False, "timeout": _TIMEOUT_MS})
            connection.urls["api"] |= {
                "fapiPublic": f"{self.api_url}/fapi/v1",
                "fapiData": f"{self.api_url}/futures/data",
            }
            connection.timeout_on_exit = 0
            self._idle.put_nowait(connection)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while not self._idle.empty():
            await self._idle.get_nowait().close()

    async def server_time(self) -> datetime:
        """The exchange's clock, naive UTC, by which a bar is closed or not."""
        body = await self.get("fapiPublicGetTime", {}, expect=dict)
        moment = from_ms(body["serverTime"])
        if moment is None:
            raise Failed("the exchange does not tell the time", 1)
        return moment

    async def rows(
        self, endpoint: Endpoint, symbol: str, start: datetime, end: datetime
    ) -> list[Any]:
        """One page of rows in [start, end), ascending."""
        params = endpoint.params(symbol, start, end)
        rows: list[Any] = await self.get(
            endpoint.method, params, bucket=endpoint.bucket, weight=endpoint.weight, expect=list
        )
        return rows

    async def get(
        self,
        method: str,
        params: dict[str, Any],
        *,
        bucket: Bucket = "weight",
        weight: int = 1,
        expect: type[list[Any]] | type[dict[str, Any]] = list,
    ) -> Any:  # noqa: ANN401 (the exchange's body)
        """Body of an answer. Raises Failed, or Refused where no further request makes sense."""
        for attempt in range(self._retry.attempts):
            try:
                return await self._once(method, params, bucket, weight, expect)
            except Transient as error:
                if attempt + 1 == self._retry.attempts:
                    raise Failed(f"{error} ({attempt + 1} attempts)", attempt + 1) from error
                wait = self._retry.wait(attempt, error.retry_after)
                log.info("%s %s: %s; next attempt in %.1f s", method, params, error, wait)
                asked_to_wait = error.retry_after is not None
                await (self._waiting.sleep(wait) if asked_to_wait else asyncio.sleep(wait))
        raise AssertionError("Retry.attempts is at least 1")

    async def _once(
        self,
        method: str,
        params: dict[str, Any],
        bucket: Bucket,
        weight: int,
        expect: type[list[Any]] | type[dict[str, Any]],
    ) -> Any:  # noqa: ANN401
        connection = await self._idle.get()
        try:
            await self._limiters[bucket].take(weight)
            if self._refused:
                raise self._refused
            connection.status, connection.reply_headers = 0, {}
            self.requests += 1
            body = await getattr(connection, method)(params)
        except ccxt.BaseError as error:
            problem = self._problem(connection, bucket, error)
            if isinstance(problem, Refused):
                self._refused = problem
            raise problem from error
        finally:
            self._heed(connection)
            self._idle.put_nowait(connection)
        if not isinstance(body, expect):
            raise Transient(f"the answer is no JSON {expect.__name__}: {str(body)[:80]!r}")
        return body

    def _heed(self, connection: _Connection) -> None:
        """Others may share this address: stand still when the exchange's own count is full."""
        used = float(connection.reply_headers.get("x-mbx-used-weight-1m") or 0)
        if used >= _MARGIN * self._limits.weight:
            seconds = self._limits.weight_seconds
            self._limiters["weight"].block(seconds - time.time() % seconds)

    def _problem(self, connection: _Connection, bucket: Bucket, error: ccxt.BaseError) -> Exception:
        """What to make of a failure: wait, give up the request, or give up altogether."""
        status = connection.status
        if status in (418, 429):
            asked = parse_retry_after(connection.reply_headers.get("retry-after"))
            wait = asked if asked is not None else self._limits.weight_seconds
            if wait > _LONGEST_WAIT_SECONDS or status == 418:
                return Refused(
                    f"{self.api_url} has banned this address for {wait:,.0f} s (HTTP {status}); "
                    "stop whatever else uses its API here, and run this command again after that"
                )
            self._limiters[bucket].block(wait)
            return Transient(f"HTTP {status}", wait)
        if status == 451:
            return Refused(
                f"{self.api_url} is not offered in this country (HTTP 451); the archive is: "
                "perp ingest archive"
            )
        if status == 403:
            return Refused(
                f"{self.api_url} refuses this address (HTTP 403, its firewall); wait some "
                "minutes, then run this command again"
            )
        if status == 0:
            return Transient(f"no whole answer ({type(error.__cause__ or error).__name__})")
        if status == 408 or status >= 500:
            return Transient(f"HTTP {status}")
        return Failed(f"HTTP {status}: {str(error).removeprefix(f'{connection.id} ')[:300]}", 1)
