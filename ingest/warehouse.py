"""The warehouse file, for those who open it: its errors in our words."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from ingest.errors import PerpError, UsageError

_LOCKED = re.compile(
    r'IO Error: Could not set lock on file ".*?": '
    r"(?:Conflicting lock is held in (.+? \(PID \d+\)))?"
)


def memory_limit() -> str:
    """How much DuckDB may take: ``PERP_MEMORY_LIMIT``, as for dbt."""
    return os.environ.get("PERP_MEMORY_LIMIT", "4GB")


@contextmanager
def opened(path: Path, limit: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a warehouse, or a published one, to read from it.

    Args:
        limit: of DuckDB's memory.

    Raises UsageError if there is none; PerpError if it cannot be read, if another process writes
    to it, or if a query needs more memory; KeyboardInterrupt on Ctrl-C during a query.
    """
    if not path.is_file():
        raise UsageError(f"there is no warehouse {path}; build one with: perp build")
    with _opening(path):
        connection = duckdb.connect(str(path), read_only=True, config={"memory_limit": limit})
    with connection, _in_our_words(path, limit), interruptible(connection):
        connection.execute("set enable_progress_bar = false")  # it writes to stdout
        yield connection


def check_unlocked(warehouse: Path) -> None:
    """Raise PerpError if another process has the warehouse open, for writing or for reading."""
    if warehouse.exists():
        with _opening(warehouse):
            duckdb.connect(str(warehouse)).close()


@contextmanager
def _opening(warehouse: Path) -> Iterator[None]:
    """Say why DuckDB cannot open a warehouse, and who has it open if that is why."""
    try:
        yield
    except duckdb.Error as error:
        reason = first_line(error)
        locked = _LOCKED.match(reason)
        if locked is None:
            raise PerpError(f"cannot open the warehouse {warehouse}: {reason}") from error
        raise PerpError(
            f"the warehouse {warehouse} is open in another process"
            f"{f', {locked[1]}' if locked[1] else ''}; wait for it or end it, then run the same "
            "command again (whoever only reads has the published file)"
        ) from error


@contextmanager
def _in_our_words(path: Path, limit: str) -> Iterator[None]:
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise PerpError(
            f"{path} cannot be read with {limit} of memory: {first_line(error)}; choose fewer "
            "columns or symbols"
        ) from error
    except duckdb.Error as error:
        raise PerpError(f"{path} cannot be read: {first_line(error)}") from error


@contextmanager
def interruptible(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Have Ctrl-C end the connection's query, as KeyboardInterrupt.

    Python calls its handlers when a query has ended, and DuckDB looks for signals by itself in some
    moments of a query only: one Ctrl-C in four was not heard (2.0.0). So a thread listens.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    ended = threading.Event()

    def listen() -> None:
        while number := os.read(reading, 1):
            while number[0] in (signal.SIGINT, signal.SIGTERM) and not ended.wait(0.02):
                with suppress(duckdb.ConnectionException):  # closed meanwhile
                    connection.interrupt()  # again, as a query may begin just after the signal

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    before = signal.set_wakeup_fd(writing)
    try:
        yield
    except duckdb.InterruptException as error:
        raise KeyboardInterrupt from error
    except RuntimeError as error:  # the same, when DuckDB has heard the signal
        if "interrupted" not in str(error):
            raise
        raise KeyboardInterrupt from error
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        os.close(writing)
        listener.join()
        os.close(reading)


def attach(connection: duckdb.DuckDBPyConnection, warehouse: Path) -> str:
    """Attach a warehouse read-only; returns its name, under which its views find each other.

    Raises UsageError if there is none, PerpError if it cannot be opened.
    """
    if not warehouse.is_file():
        raise UsageError(f"there is no warehouse {warehouse}; build one with: perp build")
    name = warehouse.stem
    with _opening(warehouse):
        connection.execute(f"attach {literal(str(warehouse))} as {quoted(name)} (read_only)")
    return name


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def first_line(error: Exception) -> str:
    """What DuckDB says, without its advice."""
    return str(error).splitlines()[0]
