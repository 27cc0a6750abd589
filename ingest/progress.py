"""Progress of long work on stderr: a live line in a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

_PLAIN_EVERY_SECONDS = 5.0


class Progress:
    """Counts units, bytes and rows, and shows rate and time left. Use as a context manager."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done = self.bytes = self.rows = 0
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
        if self._live:
            self._live.stop()
        else:
            self._plain()

    def add_bytes(self, count: int) -> None:
        """Bytes have arrived."""
        self.bytes += count
        self._tick()

    def finish_one(self, rows: int = 0) -> None:
        """One unit is finished."""
        self.done += 1
        self.rows += rows
        self._tick()

    def note(self, message: str) -> None:
        """Print a line that stays, above the live line if there is one."""
        if self._live:
            self._live.console.print(message, markup=False, highlight=False)
        else:
            print(message, file=sys.stderr, flush=True)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def _tick(self) -> None:
        if self._live is None and time.monotonic() - self._shown >= _PLAIN_EVERY_SECONDS:
            self._plain()

    def _plain(self) -> None:
        self._shown = time.monotonic()
        print(self.line(), file=sys.stderr, flush=True)

    def _text(self) -> Text:
        return Text(self.line())

    def line(self) -> str:
        """The state of the work as one line of text."""
        seconds = max(self.seconds, 1e-9)
        left = (self.total - self.done) * seconds / self.done if self.done else None
        parts = [f"{self.label}: {self.done:,}/{self.total:,} {self.unit}"]
        if self.bytes:
            parts += [size(self.bytes), f"{size(self.bytes / seconds)}/s", f"{self.rows:,} rows"]
        parts += [f"{duration(seconds)} elapsed"]
        if left is not None and self.done < self.total:
            parts += [f"ETA {duration(left)}"]
        return ", ".join(parts)


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
