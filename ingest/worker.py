"""What a worker process does besides its work: it reports to its parent, and ends with it.

Reports go through a pipe: a message is one small write, which a killed worker cannot leave half
done, and no lock that it could take with it. A worker imports this module and that of its work, so
it starts in half a second.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

_REPORT_EVERY_SECONDS = 0.25


@dataclass
class Work:
    """What a worker is doing: bytes of a zip and rows, read so far."""

    pid: int
    name: str
    total: int
    bytes: int
    rows: int
    seconds: float


@dataclass
class _Reporter:
    """The sending end in a worker process."""

    pipe: Connection | None = None
    name: str = ""
    started: float = 0.0
    sent: float = 0.0


_reporter = _Reporter()


def begin(parent: int, pipe: Connection) -> None:
    """Report to the owner of the pipe's other end, and end with it."""
    _reporter.pipe = pipe
    end_with(parent)


def end_with(parent: int) -> None:
    """Have this process leave Ctrl-C to its parent, and end when that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def report(name: str, total: int, done: int, rows: int) -> None:
    """Say how far the file ``name`` of ``total`` bytes has been read; most calls say nothing."""
    now = time.monotonic()
    if name != _reporter.name:  # a rate needs a second look
        _reporter.name, _reporter.started, _reporter.sent = name, now, now
        return
    if _reporter.pipe is None or now - _reporter.sent < _REPORT_EVERY_SECONDS:
        return
    _reporter.sent = now
    work = Work(os.getpid(), name[:200], total, done, rows, now - _reporter.started)
    _reporter.pipe.send_bytes(pickle.dumps(work))
