"""Long work shows a live line in a terminal and plain lines otherwise."""

from __future__ import annotations

import contextlib
import os
import pty
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.captures import import_captures
from ingest.config import Config
from ingest.progress import Progress
from ingest.record import RecordOptions, record_liquidations
from ingest.sandbox.stream import StreamServer


@contextlib.contextmanager
def terminal() -> Iterator[Callable[[], str]]:
    """stderr is a terminal; yields a call that gives what has been written there."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    with pytest.MonkeyPatch.context() as patched, os.fdopen(theirs, "w") as stream:
        patched.setenv("TERM", "xterm")
        patched.setattr(sys, "stderr", stream)
        yield lambda: _all_of(ours)
    os.close(ours)


def _all_of(terminal: int) -> str:
    """What a terminal has been sent so far; it passes it on in pieces."""
    pieces = []
    with contextlib.suppress(BlockingIOError):
        while True:
            time.sleep(0.05)
            pieces.append(os.read(terminal, 1 << 20))
    return b"".join(pieces).decode()


def config_of(folder: Path, stream_url: str = "") -> Config:
    return Config(folder / "lake", folder / "w.duckdb", "", "", stream_url=stream_url)


def test_the_recorder_runs_in_a_terminal(tmp_path: Path):
    with StreamServer() as server, terminal() as shown:
        config = config_of(tmp_path, server.url)
        summary = record_liquidations(config, RecordOptions(seconds=0.3))
        assert "recording: 0 orders" in shown()
    assert summary.stopped_by == "time"


def test_an_import_shows_how_far_it_is(tmp_path: Path):
    line = "BTCUSDT,BUY,LIMIT,IOC,1,100,100,FILLED,1,1,1704067200000,100\n"
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(line)
    with terminal() as shown:
        import_captures(config_of(tmp_path), [tmp_path / "a.csv", tmp_path / "b.csv"])
        assert "import: 2/2 files" in shown()


def test_an_import_prints_plain_lines_where_there_is_no_terminal(tmp_path: Path, capfd):
    (tmp_path / "a.csv").write_text("BTC,BUY,LIMIT,IOC,1,100,100,FILLED,1,1,1704067200000,100\n")
    import_captures(config_of(tmp_path), [tmp_path / "a.csv"])
    err = capfd.readouterr().err
    assert "import: 1/1 files" in err
    assert "\x1b" not in err


def test_before_the_first_unit_is_done_the_bytes_tell_the_time_left(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    progress = Progress("ingest", 3, "partitions", weight=1000)
    assert "ETA" not in progress.line()
    clock[0] = 10.0
    progress.bytes = 100
    assert "ETA 01:30" in progress.line()
    progress.add_weight(500)
    assert "ETA 00:10" in progress.line()


def test_a_ten_thousandth_of_the_work_says_nothing_of_the_time_left(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    progress = Progress("publish", 3, "parts", weight=10**8)
    clock[0] = 30.0
    progress.add_weight(14)
    assert "ETA" not in progress.line()
