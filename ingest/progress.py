"""Progress of long work on stderr: live lines in a terminal, plain lines otherwise."""

from __future__ import annotations

import pickle
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ingest import runlog
from ingest.worker import Work

_PLAIN_EVERY_SECONDS = 5.0
_STATUS_EVERY_SECONDS = 60.0


class Progress:
    """Counts units, bytes and rows, and shows rates and time left. Use as a context manager.

    Args:
        label: what is being done.
        total: number of units.
        unit: their name.
        weight: sum of the units' weights, in bytes, by which the time left is estimated; without
            it the units count alike.
    """

    def __init__(self, label: str, total: int, unit: str, weight: int = 0) -> None:
        self.label, self.total, self.unit, self.weight = label, total, unit, weight
        self.done = self.files = self.bytes = self.rows = 0
        self._weight_done = 0
        self._workers: dict[int, Work] = {}
        self._started = self._shown = time.monotonic()
        self._live = (
            Live(console=Console(stderr=True), get_renderable=self._text, refresh_per_second=4)
            if sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._workers.clear()
        if self._live:
            self._live.stop()
        else:
            self._plain()

    def listen(self, pipe: Connection) -> None:
        """Show what workers report through a pipe, from now until its other ends are closed."""

        def receive() -> None:
            try:
                while True:
                    work = pickle.loads(pipe.recv_bytes())  # noqa: S301 (from our own workers)
                    self._workers[work.pid] = work
                    self._tick()
            except (EOFError, OSError):
                return

        threading.Thread(target=receive, daemon=True).start()

    def add_bytes(self, count: int) -> None:
        """Bytes have arrived."""
        self.bytes += count
        self._tick()

    def finish_file(self, name: str, rows: int) -> None:
        """A file has been read."""
        self.files += 1
        self.rows += rows
        for work in list(self._workers.values()):
            if work.name == name:
                self._workers.pop(work.pid, None)
        self._tick()

    def add_rows(self, count: int) -> None:
        """Rows have been read."""
        self.rows += count
        self._tick()

    def add_weight(self, weight: int) -> None:
        """A part of the units is settled."""
        self._weight_done += weight
        self._tick()

    def finish_one(self) -> None:
        """One unit is finished."""
        self.done += 1
        self._tick()

    def note(self, message: str) -> None:
        """Print a line that stays, above the live line if there is one."""
        runlog.note(message)
        if self._live:
            self._live.console.print(message, markup=False, highlight=False)
        else:
            print(message, file=sys.stderr, flush=True)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def _tick(self) -> None:
        runlog.progress(self.line)
        if self._live is None and time.monotonic() - self._shown >= _PLAIN_EVERY_SECONDS:
            self._plain()

    def _text(self) -> Text:
        return Text("\n".join([self.line(), *(f"  {w}" for w in self._working())]))

    def _plain(self) -> None:
        self._shown = time.monotonic()
        print("; ".join([self.line(), *self._working()]), file=sys.stderr, flush=True)

    def _working(self) -> list[str]:
        """What each worker is doing, one line of text each."""
        return [
            f"worker {w.pid}: {w.name} {w.bytes / max(w.total, 1):.0%}, "
            f"{w.rows / w.seconds / 1e6:.1f} M rows/s"
            for w in sorted(self._workers.values(), key=lambda w: w.pid)
        ]

    def line(self) -> str:
        """The state of the work as one line of text."""
        seconds = max(self.seconds, 1e-9)
        parts = [f"{self.label}: {self.done:,}/{self.total:,} {self.unit}"]
        if self.files:
            parts += [f"{self.files:,} files"]
        if self.bytes:
            parts += [size(self.bytes), f"{size(self.bytes / seconds)}/s"]
        working = list(self._workers.values())
        if rows := self.rows + sum(w.rows for w in working):
            parts += [f"{rows:,} rows", f"{rows / seconds:,.0f} rows/s"]
        parts += [f"{duration(seconds)} elapsed"]
        share = self.done / max(self.total, 1)
        if self.weight:
            settled = self._weight_done + sum(w.bytes for w in working)
            share = min((settled or self.bytes) / self.weight, 1.0)
        if share > 1e-4 and self.done < self.total:  # less says nothing of the rest
            parts += [f"ETA {duration(seconds * max(1 / share - 1, 0))}"]
        return ", ".join(parts)


class StatusLine:
    """The state of work without an end. Use as a context manager and call ``tick`` often.

    Args:
        line: the state as one line of text.
    """

    def __init__(self, line: Callable[[], str]) -> None:
        self._line = line
        self._shown = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> StatusLine:
        if sys.stderr.isatty():
            self._live = Live(  # asks for the line at once
                console=Console(stderr=True),
                get_renderable=lambda: Text(self._line()),
                refresh_per_second=2,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def note(self, message: str) -> None:
        """Print a line that stays."""
        runlog.note(message)
        if self._live:
            self._live.console.print(message, markup=False, highlight=False)
        else:
            print(message, file=sys.stderr, flush=True)

    def tick(self) -> None:
        """Where stderr is no terminal, print the line now and then."""
        runlog.progress(self._line)
        now = time.monotonic()
        if self._live is None and now - self._shown >= _STATUS_EVERY_SECONDS:
            self._shown = now
            print(self._line(), file=sys.stderr, flush=True)


def size(count: float) -> str:
    """Bytes for people: ``12.3 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds for people: ``1:02:03`` or ``02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
