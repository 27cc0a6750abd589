"""Record the liquidation stream: journal first, and from time to time into the lake."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ingest.config import Config, origin
from ingest.datasets import STREAM
from ingest.events import Added, EventPartitions
from ingest.journal import Journal, abandoned, read_journal, remove
from ingest.lake import FileRecord, Lake
from ingest.progress import StatusLine, duration
from ingest.run import writing
from ingest.sources.force_order import Row
from ingest.sources.liquidation_stream import LiquidationStream, StreamOptions
from ingest.spans import Span, to_log, union_spans
from ingest.store import Unreachable

SOURCE = "stream"
DATASET = STREAM["liquidations"]
_MALFORMED_SHOWN = 5
_TICK_SECONDS = 0.1

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class RecordOptions:
    """How to record.

    Args:
        seconds: real time after which to stop; None to go on until interrupted.
        rotate_seconds: between two folds of the journal into the lake.
        sync_seconds: longest that an order waits to be on disk.
        stream: when connections are given up and made anew.
    """

    seconds: float | None = None
    rotate_seconds: float = 300.0
    sync_seconds: float = 1.0
    stream: StreamOptions = field(default_factory=StreamOptions)


@dataclass
class RecordingSummary:
    """What a recording brought.

    Args:
        orders: received; some over two connections.
        new: rows that the lake did not have.
        duplicates: orders that it had, or that came twice.
        conflicts: orders with the key of another but other values; the earlier one stays.
        malformed: messages that were no orders.
        coin_margined: orders of coin-margined contracts, left out.
        recovered: new rows from journals of recorders that were killed.
        connections: connections made.
        failures: attempts to connect that failed.
        covered: spans [from, to) that are covered, in receive time.
        covered_seconds: their length.
        stopped_by: ``SIGINT``, ``SIGTERM``, ``time`` or ``caller``.
    """

    orders: int = 0
    new: int = 0
    duplicates: int = 0
    conflicts: int = 0
    malformed: int = 0
    coin_margined: int = 0
    recovered: int = 0
    connections: int = 0
    failures: int = 0
    covered: list[tuple[str, str]] = field(default_factory=list)
    covered_seconds: float = 0.0
    seconds: float = 0.0
    stopped_by: str = ""


def utc_now() -> datetime:
    """The time now, UTC without zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def record_liquidations(
    config: Config,
    options: RecordOptions | None = None,
    *,
    clock: Clock = utc_now,
    stop: Callable[[], bool] = lambda: False,
) -> RecordingSummary:
    """Record forced orders of the whole market until SIGINT, SIGTERM or the time is over.

    First the journals of recorders that were killed are folded into the lake. Several recorders
    may share a lake. Must be called in the main thread.

    Args:
        clock: the time now, naive UTC, that orders and coverage are stamped with.
        stop: asked several times a second whether to stop.

    Raises UsageError, or PerpError if the lake cannot be written; then the journal stays, and the
    next recorder folds it.
    """
    lake = Lake(config.lake)
    lake.prepare(origin(config.stream_url))
    with lake.shared(SOURCE) as claims:
        folder = lake.tmp / SOURCE
        folder.mkdir(parents=True, exist_ok=True)
        partitions = EventPartitions(lake, DATASET, claims, lambda f: (folder / f.url).exists())
        with contextlib.closing(partitions):
            recorder = _Recorder(config, options or RecordOptions(), clock, stop, lake, partitions)
            return asyncio.run(recorder.run())


class _Recorder:
    """One recording: its stream, its journal, and what it folds into the lake."""

    def __init__(
        self,
        config: Config,
        options: RecordOptions,
        clock: Clock,
        stop: Callable[[], bool],
        lake: Lake,
        partitions: EventPartitions,
    ) -> None:
        self.options, self.lake, self.partitions = options, lake, partitions
        self.asked_to_stop = stop
        self.folder = lake.tmp / SOURCE
        self.summary = RecordingSummary()
        self.name = f"{clock():%Y%m%dT%H%M%S%f}.{os.getpid()}"
        self.status = StatusLine(self.line)
        self.stream = LiquidationStream(
            config.stream_url,
            self.name,
            options.stream,
            clock,
            self._on_order,
            self._on_malformed,
            self.status.note,
        )
        self.spans: list[Span] = []
        self.last_order: float | None = None
        self._stop = asyncio.Event()
        self._started = time.monotonic()
        self._numbers = itertools.count(1)

    # ------------------------------------------------------------------------ what comes in
    def _on_order(self, row: Row) -> None:
        self.summary.orders += 1
        self.last_order = time.monotonic()
        self.journal.order(row)

    def _on_malformed(self, received: datetime, text: str, problem: str) -> None:
        self.summary.malformed += 1
        self.journal.malformed(received, text)
        if self.summary.malformed <= _MALFORMED_SHOWN:
            self.status.note(f"left out a message ({problem}): {text[:300]}")
        elif self.summary.malformed == _MALFORMED_SHOWN + 1:
            self.status.note("further messages that are left out are only counted")

    def _sync(self) -> None:
        for connection, spans in self.stream.take_covered().items():
            for span in spans:
                self.journal.covered(connection, *span)
            self.spans = union_spans([*self.spans, *spans])
        with writing(self.lake, self._kept()):
            self.journal.sync()

    def _kept(self) -> str:
        return f"what was acknowledged is kept in {self.folder}, and the next recording lands it"

    # ----------------------------------------------------------------------------- the run
    async def run(self) -> RecordingSummary:
        with self.status, self._signals():
            with writing(self.lake, self._kept()):
                self.summary.recovered = self._fold_abandoned().new
            self._begin()
            try:
                await self._record()
                self._count(self._fold(self.journal))
            finally:
                self.journal.close()
        summary, stream = self.summary, self.stream
        summary.coin_margined, summary.connections = stream.coin_margined, stream.connections
        summary.failures = stream.failures
        summary.covered, summary.covered_seconds = to_log(self.spans), self._covered_seconds()
        summary.seconds = time.monotonic() - self._started
        return summary

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop at a signal; what it interrupted is finished first."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self._stop_for, number.name)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _stop_for(self, reason: str) -> None:
        self.summary.stopped_by = self.summary.stopped_by or reason
        self._stop.set()

    async def _record(self) -> None:
        """Receive until it is time to stop; then everything received is on disk."""
        streaming = asyncio.create_task(self.stream.run())
        try:
            await self._sync_and_fold(streaming)
        finally:
            streaming.cancel()
            await asyncio.wait([streaming])
            self._sync()

    async def _sync_and_fold(self, streaming: asyncio.Task[None]) -> None:
        options = self.options
        synced = rotated = time.monotonic()
        folding: asyncio.Future[Added] | None = None
        try:
            while not self._stop.is_set() and not streaming.done():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), _TICK_SECONDS)
                now = time.monotonic()
                if options.seconds is not None and now - self._started >= options.seconds:
                    self._stop_for("time")
                if self.asked_to_stop():
                    self._stop_for("caller")
                if now - synced >= options.sync_seconds / 2:
                    synced = now
                    self._sync()
                if folding and folding.done():
                    done, folding = folding, None
                    self._folded(done)
                if folding is None and now - rotated >= options.rotate_seconds:
                    rotated = now
                    full = self._rotate()
                    folding = asyncio.ensure_future(asyncio.to_thread(self._fold, full))
                self.status.tick()
            if streaming.done():
                streaming.result()
        finally:
            if folding:
                await asyncio.wait([folding])
                self._folded(folding)

    def line(self) -> str:
        """The state of the recording as one line of text."""
        seconds = max(time.monotonic() - self._started, 1e-9)
        heard = "none yet"
        if self.last_order is not None:
            heard = f"{duration(time.monotonic() - self.last_order)} ago"
        parts = [
            f"recording: {self.summary.orders:,} orders",
            f"{self.summary.orders / seconds * 60:,.1f}/min",
            f"last {heard}",
            "connected" if self.stream.connected else "NOT CONNECTED",
            f"{max(self.stream.connections - 1, 0)} reconnects",
            f"covered {duration(self._covered_seconds())} of {duration(seconds)}",
        ]
        return ", ".join(parts)

    def _covered_seconds(self) -> float:
        return sum((b - a for a, b in self.spans), timedelta()).total_seconds()

    # ------------------------------------------------------------------------------- folding
    def _begin(self) -> None:
        with writing(self.lake, self._kept()):
            self.journal = Journal(self.folder / f"{self.name}-{next(self._numbers):06d}.jsonl")

    def _rotate(self) -> Journal:
        """Go on in a new journal; returns the one so far, for folding."""
        self._sync()
        full = self.journal
        self._begin()
        return full

    def _fold(self, journal: Journal) -> Added:
        try:
            with writing(self.lake, self._kept()):
                # First those of the dead: a partition that one left unlogged is put in order.
                self.summary.recovered += self._fold_abandoned().new
                return self._add(journal.path)
        finally:
            journal.close()

    def _folded(self, done: asyncio.Future[Added]) -> None:
        """Count what a fold brought; one that could not reach the lake is left to the next."""
        try:
            self._count(done.result())
        except Unreachable as error:
            self.status.note(f"{error}; recording goes on, and the next fold lands the journal")

    def _fold_abandoned(self) -> Added:
        """Fold the journals of recorders that were killed."""
        total = Added()
        for path in abandoned(self.folder):
            added = self._add(path)
            total.count(added)
            self.status.note(
                f"recovered {added.new} orders ({added.duplicates} duplicates) from {path.name}, "
                "which was left behind"
            )
        return total

    def _add(self, path: Path) -> Added:
        recorded = read_journal(path, DATASET)
        if recorded.torn:
            self.status.note(
                f"{path.name}: its last {recorded.torn} bytes were not written out and are lost"
            )
        file = FileRecord(
            url=path.name,
            period="",
            outcome="landed",
            bytes=recorded.bytes,
            sha256_actual=recorded.sha256,
            bad_rows=recorded.malformed,
        )
        rows = recorded.table(DATASET)
        added = self.partitions.add(file, rows, list(recorded.spans.values()))
        remove(path)
        return added

    def _count(self, added: Added) -> None:
        self.summary.new += added.new
        self.summary.duplicates += added.duplicates
        self.summary.conflicts += added.conflicts
