"""A loopback liquidation stream: the exchange's paths and messages, and faults on demand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ingest.sandbox.market import Market

Message = dict[str, Any] | str | bytes  # text and bytes are sent as they are

STREAM = "!forceOrder@arr"
COMBINED = f"/market/stream?streams={STREAM}"
RAW = f"/market/ws/{STREAM}"
RETIRED = f"/ws/{STREAM}"  # connects and stays silent
_LEAD_SECONDS = 0.2  # the first client is ready before simulated time begins to run


class ReplayClock:
    """Simulated time: stands at ``start`` until it is begun, then runs ``speed`` times as fast."""

    def __init__(self, start: datetime, speed: float = 1.0) -> None:
        self.start, self.speed = start, speed
        self._begun: float | None = None

    def begin(self) -> None:
        """Let the time run, unless it does already."""
        if self._begun is None:
            self._begun = time.monotonic()

    def now(self) -> datetime:
        """The simulated time, naive UTC."""
        if self._begun is None:
            return self.start
        return self.start + timedelta(seconds=(time.monotonic() - self._begun) * self.speed)

    def seconds_until(self, moment: datetime) -> float:
        """Real seconds until a simulated moment; 0 if it has passed."""
        return max((moment - self.now()).total_seconds() / self.speed, 0.0)


class StreamServer:
    """Serves the stream on 127.0.0.1. Use as a context manager.

    What is sent while no client is there is lost, as it is at the exchange. All methods may be
    called from any thread.

    Args:
        feed: messages and when they are due, ascending; played from the first client on.
        clock: the time of the feed.
        lifetime: real seconds after which a connection is closed (24 h at the exchange).

    Attributes:
        refusals: statuses (with a Retry-After in seconds, if any) for the next handshakes.
        drop_after: end a connection without a word after so many messages; once.
        repeat: send this many of the last messages again to every new client.
        paths: path of every connection so far.
        sent: messages that reached at least one client.
        lost: messages that reached none.
        finished: set when the feed has been played.
    """

    def __init__(
        self,
        feed: Iterable[tuple[datetime, Message]] = (),
        *,
        clock: ReplayClock | None = None,
        lifetime: float | None = None,
        port: int = 0,
    ) -> None:
        self.refusals: list[tuple[int, int | None]] = []
        self.drop_after: int | None = None
        self.repeat = 0
        self.lifetime = lifetime
        self.paths: list[str] = []
        self.sent = self.lost = 0
        self.finished = threading.Event()
        self._feed, self._clock, self._port = feed, clock, port
        self._clients: dict[ServerConnection, int] = {}  # messages sent to it
        self._recent: deque[Message] = deque(maxlen=1000)
        self._ready: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> StreamServer:
        self._thread.start()
        self._port = self._ready.result(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def url(self) -> str:
        """Address of the streams."""
        return f"ws://127.0.0.1:{self._port}"

    @property
    def clients(self) -> int:
        """Clients that get messages now."""
        return len(self._clients)

    def send(self, message: Message) -> int:
        """Send to every client; returns to how many."""
        return self._call(lambda: self._broadcast(message))

    def drop(self) -> None:
        """End all connections without a word."""
        self._each(lambda client: client.transport.abort())

    def silence(self) -> None:
        """Send nothing more over the connections there are; they stay open."""
        self._call(self._forget)

    def freeze(self) -> None:
        """Do not even answer pings any more over the connections there are."""
        self._each(lambda client: client.transport.pause_reading())
        self.silence()

    # ---------------------------------------------------------------------------- in its thread
    def _call(self, work: Callable[[], Awaitable[int]]) -> int:
        async def run() -> int:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def _each(self, action: Callable[[ServerConnection], object]) -> None:
        async def work() -> int:
            for client in list(self._clients):
                action(client)
            return 0

        self._call(work)

    async def _forget(self) -> int:
        self._clients.clear()
        return 0

    def _run(self) -> None:
        logging.getLogger("websockets.server").setLevel(logging.CRITICAL)
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop, self._first_client = asyncio.Event(), asyncio.Event()
        server = await serve(
            self._serve,
            "127.0.0.1",
            self._port,
            process_request=self._answer,
            ping_interval=None,
            close_timeout=0.2,
        )
        self._ready.set_result(_port(server))
        playing = asyncio.create_task(self._play())
        await self._stop.wait()
        playing.cancel()
        for connection in server.connections:
            connection.transport.abort()
        server.close()
        await server.wait_closed()

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        if self.refusals:
            status, wait = self.refusals.pop(0)
            response = connection.respond(status, "refused\n")
            if wait is not None:
                response.headers["Retry-After"] = str(wait)
            return response
        if request.path not in (COMBINED, RAW, RETIRED):
            return connection.respond(404, "no such stream\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        path = connection.request.path if connection.request else ""
        self.paths.append(path)
        if path != RETIRED:
            self._clients[connection] = 0
            for message in list(self._recent)[len(self._recent) - self.repeat :]:
                await self._send(connection, message)
            self._first_client.set()
        try:
            async with asyncio.timeout(self.lifetime):
                await connection.wait_closed()
        except TimeoutError:
            await connection.close(1001, "24 hours are over")
        finally:
            self._clients.pop(connection, None)

    async def _play(self) -> None:
        await self._first_client.wait()
        await asyncio.sleep(_LEAD_SECONDS)
        if self._clock:
            self._clock.begin()
        for due, message in self._feed:
            await asyncio.sleep(self._clock.seconds_until(due) if self._clock else 0)
            await self._broadcast(message)
        self.finished.set()

    async def _broadcast(self, message: Message) -> int:
        self._recent.append(message)
        reached = 0
        for client in list(self._clients):
            reached += await self._send(client, message)
        self.sent += reached > 0
        self.lost += reached == 0
        return reached

    async def _send(self, client: ServerConnection, message: Message) -> bool:
        content: str | bytes
        if isinstance(message, dict):
            wrapped = client.request is not None and client.request.path == COMBINED
            content = json.dumps({"stream": STREAM, "data": message} if wrapped else message)
        else:
            content = message
        with contextlib.suppress(ConnectionClosed):
            await client.send(content)
            self._clients[client] = self._clients.get(client, 0) + 1
            if self._clients[client] == self.drop_after:
                self.drop_after = None
                self._clients.pop(client)
                client.transport.abort()
            return True
        return False


def _port(server: Server) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])


# ----------------------------------------------------------------------------------- messages
def force_order(
    symbol: str,
    moment: int,
    *,
    side: str = "SELL",
    quantity: str = "1.000",
    price: str = "100.00",
    average: str | None = None,
    last: str | None = None,
    event: int | None = None,
    coin_margined: bool = False,
) -> dict[str, Any]:
    """A forced order as the exchange pushes it since 2026-06-29.

    Args:
        moment: trade time, epoch ms.
        average: average price; the order's by default.
        last: last fill; everything by default.
        event: when it is pushed, epoch ms; 5 ms after the trade by default.
        coin_margined: an order of the other market, whose quantity counts contracts.
    """
    return {
        "e": "forceOrder",
        "E": moment + 5 if event is None else event,
        "o": {
            "s": symbol,
            "S": side,
            "o": "LIMIT",
            "f": "IOC",
            "q": quantity,
            "p": price,
            "ap": average or price,
            "X": "FILLED",
            "l": last or quantity,
            "z": quantity,
            "T": moment,
        },
        "ps": symbol.partition("_")[0],
        "st": 2 if coin_margined else 1,
    }


def market_feed(
    markets: Iterable[Market], start: datetime, end: datetime
) -> list[tuple[datetime, dict[str, Any]]]:
    """What the exchange pushes of these markets' liquidations in [start, end), ascending.

    The latest order of a symbol and second is pushed when the second is over; the others never are.
    """
    feed: list[tuple[datetime, dict[str, Any]]] = []
    for market in markets:
        contract, orders = market.contract, market.liquidations
        by_second: dict[int, int] = {}
        for index, moment in enumerate(orders.times.tolist()):
            by_second[moment // 1000] = index
        for second, index in by_second.items():
            due = datetime(1970, 1, 1) + timedelta(seconds=second + 1)
            if not start <= due < end:
                continue
            message = force_order(
                contract.symbol,
                int(orders.times[index]),
                side="SELL" if orders.sold[index] else "BUY",
                quantity=_decimal(orders.lots[index], contract.lot_decimals),
                price=_decimal(orders.price_ticks[index], contract.price_decimals),
                average=_decimal(orders.average_ticks[index], contract.price_decimals),
                last=_decimal(orders.last_lots[index], contract.lot_decimals),
                event=(second + 1) * 1000,
            )
            feed.append((due, message))
    return sorted(feed, key=lambda item: item[0])


def _decimal(units: int, decimals: int) -> str:
    """Text of a number counted in units of 10**-decimals."""
    return f"{int(units) / 10**decimals:.{decimals}f}"
