"""perp status --watch: the lake at work, on a screen and as lines, until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.datasets import STREAM
from ingest.journal import Journal
from ingest.lake import FileRecord, Lake, LandingLog, LandingRecord
from ingest.watch import Watcher, lines, screen
from tests.ingest.test_lake import other_process
from tests.operations.conftest import land_hours

PERP = Path(sys.executable).with_name("perp")
MARCH = ("klines_1h", "BTCUSDT", "2024-03")


def test_it_shows_who_works_on_what(lake: Lake):
    watcher = Watcher(lake)
    assert watcher.look().work == []
    folder = lake.downloads("vision", MARCH)
    folder.mkdir(parents=True)
    (folder / "BTCUSDT-1h-2024-03.zip.part").write_bytes(bytes(2000))
    code = f"claims.take({MARCH!r}); claims.take(('klines_1h', 'ETHUSDT', '2024-01'))"
    with other_process(code, lake):
        works = {w.key: w for w in watcher.look().work}
    assert works.keys() == {MARCH, ("klines_1h", "ETHUSDT", "2024-01")}
    assert works[MARCH].doing == "downloading BTCUSDT-1h-2024-03.zip, 2.0 kB"
    assert works[MARCH].pid != os.getpid()
    assert watcher.look().work == [], "a claim ends with its process"


def test_rates_and_counts_follow_the_log(lake: Lake, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("ingest.watch.time.monotonic", lambda: clock[0])
    watcher = Watcher(lake)
    first = watcher.look()
    assert (first.landed, first.waiting, first.rates) == (4, 0, (0.0, 0.0, 0.0))
    with contextlib.closing(LandingLog(lake.log_folder, "vision")) as log:
        land_hours(lake, log, "BTCUSDT", "2024-03", 480)
        bad = FileRecord("u", "2024-04", "quarantined", error="odd")
        failed = LandingRecord("vision", "klines_1h", "BTCUSDT", "2024-04", "quarantined")
        log.append(replace(failed, files=[bad]))
        clock[0] += 10
        now = watcher.look()
        assert (now.landed, now.waiting, now.bad_files) == (5, 1, {"quarantined": 1})
        assert now.rates == (48.0, 10.0, 0.1)
        assert now.last[0].month == "2024-03"
        land_hours(lake, log, "BTCUSDT", "2024-04")
    clock[0] += 61
    now = watcher.look()
    assert (now.landed, now.waiting, now.bad_files) == (6, 0, {})
    assert now.rates[2] == pytest.approx(1 / 60)
    assert "6 landed, 0 waiting" in lines(now)[0]
    assert screen(now).renderables


def test_a_recorder_and_a_journal_left_behind_are_told_apart(lake: Lake):
    folder = lake.tmp / "stream"
    journal = Journal(folder / f"20240101T000000000000.{os.getpid()}-000001.jsonl")
    try:
        code = "from pathlib import Path; from ingest.watch import *; "
        code += f"print(Watcher(Lake(Path({str(lake.root)!r}))).look())"
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        assert f"process {os.getpid()} records; journal 0 B" in found
    finally:
        journal.close()
    assert STREAM["liquidations"].source == "stream"
    (line,) = Watcher(lake).look().recorder
    assert "was killed; the next recorder lands its journal" in line


def watch(lake: Lake, **streams: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PERP, "status", "--watch", "--every", "0.1", "--lake", lake.root],
        text=True,
        **streams,  # type: ignore[call-overload]
    )


def test_without_a_terminal_it_prints_lines_and_ctrl_c_ends_it(lake: Lake):
    process = watch(lake, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    first, second = process.stdout.readline(), process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert re.match(r"\d\d:\d\d:\d\d 0 partitions being landed, 4 landed, 0 waiting", first)
    assert re.match(
        r"\d\d:\d\d:\d\d landed 20.* vision/klines_1h \w+USDT 2024-0\d: 48 rows", second
    )
    assert "\x1b" not in first + second + out
    assert (process.returncode, err) == (0, "")


def test_in_a_terminal_it_is_a_screen_and_ctrl_c_ends_it(lake: Lake):
    ours, theirs = pty.openpty()
    process = watch(lake, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen, deadline = b"", time.monotonic() + 30
    while b"nobody is landing anything" not in seen and time.monotonic() < deadline:
        seen += os.read(ours, 65536)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # the end of a terminal
        while data := os.read(ours, 65536):
            seen += data
    os.close(ours)
    assert process.wait(timeout=20) == 0
    assert b"\x1b[" in seen
    assert b"4 landed" in seen
    assert b"Traceback" not in seen
