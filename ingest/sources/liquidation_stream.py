"""The websocket stream of forced orders of the whole market, over one connection after another.

The stream is ``/market/stream?streams=!forceOrder@arr``. The path of old, ``/ws/!forceOrder@arr``,
was retired on 2026-04-23: it still connects but never sends anything. It pushes at most one order a
symbol and second, and nothing while there is none, so silence alone does not tell a dead feed from
a calm market. Hence a connection covers time only up to a sign of life, and none at all before an
order has come over it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from ingest.config import is_loopback
from ingest.sources.force_order import Malformed, Row, parse_message
from ingest.spans import Span

PATH = "/market/stream?streams=!forceOrder@arr"
_TICK_SECONDS = 0.1
_LAST_PONG_SECONDS = 2.0
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class StreamOptions:
    """When a connection is given up, and how soon the next is tried. Seconds of real time.

    Args:
        max_silence: without any order of the whole market the feed is taken to be dead.
        lifetime: a connection is replaced before the exchange ends it after 24 h.
        overlap: how long a connection is kept after the first order over the one replacing it.
        ping_interval: between a pong and the next ping.
        pong_timeout: wait for a pong.
        open_timeout: wait for a connection.
        first_delay: mean wait before the second attempt; it doubles with each further one.
        longest_delay: longest wait between attempts.
        max_leap: a clock that moves further than this between two signs of life was set, or the
            machine slept; that time is not covered. By the clock that stamps the orders.
    """

    max_silence: float = 600.0
    lifetime: float = 23.5 * 3600
    overlap: float = 5.0
    ping_interval: float = 15.0
    pong_timeout: float = 20.0
    open_timeout: float = 10.0
    first_delay: float = 1.0
    longest_delay: float = 60.0
    max_leap: timedelta = timedelta(seconds=60)


class _Connect(connect):
    """A connection to the address that was asked for and no other."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Take a redirect for the error it is."""
        return exc


@dataclass
class _Link:
    """One connection and the span that it is known to cover."""

    name: str
    socket: ClientConnection
    opened: float  # monotonic
    since: datetime
    alive: datetime  # last sign of life
    heard: datetime | None = None  # last order within the span
    heard_first: float | None = None  # monotonic, of the first order ever
    heard_last: float = 0.0
    pinging: bool = True
    task: asyncio.Task[None] | None = None

    def silent_for(self, now: float) -> float:
        return now - max(self.opened, self.heard_last)


@dataclass
class LiquidationStream:
    """Keeps a connection to the stream and hands over what it brings.

    Args:
        url: address of the exchange's streams, e.g. ``wss://fstream.binance.com``.
        name: prefix of the connections' names.
        clock: the time now, naive UTC; stamps orders and coverage.
        on_order: gets every order as a row of ``stream/liquidations``.
        on_malformed: gets every message that is no order: when, its text, and what is wrong.
        note: gets lines for people.

    Attributes:
        covered: what is known to be covered and has not been taken yet, by connection and start.
    """

    url: str
    name: str
    options: StreamOptions
    clock: Callable[[], datetime]
    on_order: Callable[[Row], None]
    on_malformed: Callable[[datetime, str, str], None]
    note: Callable[[str], None]
    covered: dict[tuple[str, datetime], datetime] = field(default_factory=dict)
    coin_margined: int = 0
    connections: int = 0
    failures: int = 0
    _links: list[_Link] = field(default_factory=list)  # oldest first
    _closing: set[asyncio.Task[None]] = field(default_factory=set)
    _attempts: int = 0  # since an order was heard
    _next_attempt: float = 0.0

    @property
    def connected(self) -> bool:
        """True while there is a connection."""
        return bool(self._links)

    def take_covered(self) -> dict[str, list[Span]]:
        """By connection, the spans that have grown since the last call."""
        result: dict[str, list[Span]] = {}
        for (name, since), until in self.covered.items():
            result.setdefault(name, []).append((since, until))
        self.covered.clear()
        return result

    async def run(self) -> None:
        """Receive until cancelled; then take leave, and return when every connection is closed."""
        try:
            while True:
                self._look_after()
                newest = self._links[-1] if self._links else None
                now = time.monotonic()
                if now >= self._next_attempt and (newest is None or self._due(newest, now)):
                    await self._open()
                await asyncio.sleep(_TICK_SECONDS)
        finally:
            for link in self._links:
                self._close(link)
            await asyncio.gather(*self._closing, return_exceptions=True)
            await asyncio.gather(*(link.task for link in self._links if link.task))

    def _look_after(self) -> None:
        """Forget connections that have ended, and end those that have been replaced."""
        for link in [x for x in self._links if x.task and x.task.done()]:
            self._links.remove(link)
            if link.task:
                link.task.result()
        if not self._links:
            return
        newest, now = self._links[-1], time.monotonic()
        if newest.heard_first is not None and now - newest.heard_first >= self.options.overlap:
            for link in self._links[:-1]:
                self._close(link)

    def _due(self, newest: _Link, now: float) -> bool:
        """True if the newest connection needs to be replaced, saying why."""
        if now - newest.opened >= self.options.lifetime:
            return True
        silence = newest.silent_for(now)
        if silence < self.options.max_silence:
            return False
        self.note(f"no order for {silence:.0f} s over connection {newest.name}; opening another")
        if len(self._links) > 1:
            self._close(newest)
        return True

    async def _open(self) -> None:
        """Try once to connect, and set when to try again should it fail or bring nothing."""
        options = self.options
        delay = min(options.longest_delay, options.first_delay * 2 ** min(self._attempts, 16))
        self._attempts += 1
        try:
            socket = await _Connect(
                self.url + PATH,
                open_timeout=options.open_timeout,
                close_timeout=_LAST_PONG_SECONDS,
                ping_interval=None,
                proxy=None if is_loopback(self.url) else True,
            )
        except (OSError, InvalidHandshake, ConnectionClosed) as error:
            self.failures += 1
            delay = max(delay * random.uniform(0.5, 1.5), _asked_to_wait(error))
            self._next_attempt = time.monotonic() + delay
            self.note(f"cannot connect to {self.url}: {_reason(error)}; next try in {delay:.1f} s")
            return
        self._next_attempt = time.monotonic() + delay * random.uniform(0.5, 1.5)
        self.connections += 1
        now = self.clock()
        link = _Link(f"{self.name}-{self.connections}", socket, time.monotonic(), now, now)
        link.task = asyncio.create_task(self._receive(link))
        self._links.append(link)
        self.note(f"connection {link.name} is open")

    def _close(self, link: _Link) -> None:
        """Begin to close a connection, once."""
        if link.pinging:
            link.pinging = False
            task = asyncio.create_task(self._take_leave(link))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _take_leave(self, link: _Link) -> None:
        with contextlib.suppress(TimeoutError, ConnectionClosed):
            await self._ping(link, _LAST_PONG_SECONDS)
        await link.socket.close()

    # ------------------------------------------------------------------------- one connection
    async def _receive(self, link: _Link) -> None:
        pinging = asyncio.create_task(self._keep_alive(link))
        try:
            while True:
                self._take(link, await link.socket.recv(decode=False))
        except ConnectionClosed as error:
            if link.pinging:
                self.note(f"connection {link.name} ended: {error}")
        finally:
            link.pinging = False
            pinging.cancel()
            if link.silent_for(time.monotonic()) < self.options.max_silence:
                self._cover(link, link.alive)

    async def _keep_alive(self, link: _Link) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(self.options.ping_interval)
                try:
                    await self._ping(link, self.options.pong_timeout)
                except TimeoutError:
                    link.socket.transport.abort()

    async def _ping(self, link: _Link, timeout: float) -> None:
        async with asyncio.timeout(timeout):
            await (await link.socket.ping())
        self._sign_of_life(link, self.clock())

    def _take(self, link: _Link, message: bytes) -> None:
        now = self.clock()
        try:
            row = parse_message(message)
        except Malformed as error:
            self.on_malformed(now, message[:1000].decode("utf-8", "replace"), str(error))
            return
        if row is None:
            self.coin_margined += 1
        else:
            self.on_order({"receive_time": now, **row, "connection": link.name})
        self._attempts = 0
        link.heard_last = time.monotonic()
        if link.heard_first is None:
            link.heard_first = link.heard_last
        self._sign_of_life(link, now)
        link.heard = now
        self._cover(link, now)

    def _sign_of_life(self, link: _Link, now: datetime) -> None:
        if not timedelta(0) <= now - link.alive <= self.options.max_leap:
            self._cover(link, link.alive)
            link.since, link.heard = now, None
        link.alive = now

    def _cover(self, link: _Link, until: datetime) -> None:
        """Take note that a connection covers up to and including a moment."""
        if link.heard is not None:
            self.covered[link.name, link.since] = until + _INSTANT


def _asked_to_wait(error: Exception) -> float:
    """Seconds that a refusal asks to wait, or 0."""
    if isinstance(error, InvalidStatus):
        text = error.response.headers.get("Retry-After", "")
        if text.isascii() and text.isdigit():
            return min(float(text), 3600.0)
    return 0.0


def _reason(error: Exception) -> str:
    if isinstance(error, InvalidStatus):
        return f"HTTP {error.response.status_code}"
    return str(error) or type(error).__name__
