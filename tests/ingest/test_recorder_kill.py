"""Recorders as processes: killed anywhere, stopped by signals, several on one lake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from ingest.cli import cli
from ingest.datasets import STREAM
from ingest.errors import UsageError
from ingest.journal import Recorded, read_journal
from ingest.record import utc_now
from ingest.sandbox.stream import StreamServer
from tests.ingest.recordings import (
    covered,
    events,
    inside,
    numbers,
    order,
    record_of,
    send_all,
    wait_for,
)

PERP = Path(sys.executable).with_name("perp")
RECORD = ("ingest", "liquidations")

# Code that makes the process kill itself at a point of a fold.
_KILL = """
import os, signal
import ingest.events, ingest.lake, ingest.merge, ingest.record
from ingest.cli import main
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
def write_half(*arguments):
    ingest.lake.commit_parquet = die
    ingest.lake.write_parquet(*arguments)
{patch}
main()
"""
POINTS = {
    "before a fold": "ingest.record.read_journal = die",
    "before the Parquet commit": "ingest.merge.write_parquet = write_half",
    "between commit and log": "ingest.events.LandingLog.append = die",
    "between log and the end of the journal": "ingest.record.remove = die",
}


@pytest.fixture
def server() -> Iterator[StreamServer]:
    with StreamServer() as running:
        yield running


@contextmanager
def recorder(
    server: StreamServer, lake: Path, *options: str, patch: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """A recording process, connected; killed in the end if it still runs."""
    program = [sys.executable, "-c", _KILL.format(patch=patch)] if patch else [str(PERP)]
    before = len(server.paths)
    with subprocess.Popen(
        [*program, *RECORD, "--rotate", "0.5", *options],
        env={**os.environ, "PERP_LAKE": str(lake), "PERP_STREAM_URL": server.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for(lambda: len(server.paths) > before or process.poll() is not None, "a client")
            wait_for(lambda: server.clients or process.poll() is not None, "a client")
            yield process
        finally:
            process.kill()


def stop(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> str:
    """Stop a recorder; returns what it printed."""
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else 0), stderr
    assert "Traceback" not in stderr
    return stdout


def journals(lake: Path) -> list[Recorded]:
    paths = sorted((lake / "_tmp" / "stream").glob("*.jsonl"))
    return [read_journal(path, STREAM["liquidations"]) for path in paths]


def acknowledged(lake: Path) -> set[int]:
    """Numbers of the orders that are on disk, in the journals or in the partitions."""
    first = 1_735_689_600
    pending = {
        round((row["trade_time"] - type(row["trade_time"])(1970, 1, 1)).total_seconds()) - first
        for journal in journals(lake)
        for row in journal.rows
    }
    return pending | set(numbers(lake))


@pytest.mark.parametrize("point", [*POINTS, "while it receives"])
def test_killed_anywhere_it_loses_nothing_and_counts_nothing_twice(server, tmp_path, point):
    lake = tmp_path / "lake"
    patch = POINTS.get(point, "")
    rotate = () if patch else ("--rotate", "300")
    with recorder(server, lake, *rotate, patch=patch) as process:
        send_all(server, [order(n) for n in range(20)])
        if not patch:
            wait_for(lambda: len(acknowledged(lake)) == 20, "all is on disk")
            process.kill()
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGKILL
    killed_at = utc_now()
    assert journals(lake), "what was not folded is kept"
    held = acknowledged(lake)
    assert len(held) == 20
    claimed = max(until for journal in journals(lake) for _, until in journal.spans.values())
    missed = server.send(order(20))
    assert missed == 0

    with recorder(server, lake) as process:
        send_all(server, [order(n) for n in range(21, 25)])
        printed = stop(process)
    everything = [*range(20), *range(21, 25)]
    assert numbers(lake) == everything
    folded = point == "between log and the end of the journal"
    assert f"{0 if folded else 20} recovered from killed recorders" in printed
    assert not journals(lake)
    record = record_of(lake, f"{utc_now():%Y-%m}")
    assert (record.rows_in, record.rows_out, record.duplicates_dropped) == (24, 24, 0)
    first, second = covered(lake)
    assert first[1] == claimed < killed_at < second[0], "the hole shows"
    assert all(inside(events(lake)["receive_time"], [first, second]))


def test_killed_again_and_again_while_it_receives_and_folds(server, tmp_path):
    """Whatever is on disk when a recorder dies is in the lake in the end, once."""
    lake = tmp_path / "lake"
    held: set[int] = set()
    sent = 0
    for round_ in range(3):
        with recorder(server, lake, "--rotate", "0.1") as process:
            landed = len(numbers(lake))
            while len(numbers(lake)) <= landed + 50 * round_:
                for _ in range(20):
                    server.send(order(sent))
                    sent += 1
            process.kill()
            process.wait()
        held |= acknowledged(lake)
    with recorder(server, lake) as process:
        stop(process)
    found = numbers(lake)
    assert set(found) >= held > set()
    assert len(found) == len(set(found))
    record = record_of(lake, f"{utc_now():%Y-%m}")
    assert record.rows_out == record.rows_in == len(found)
    assert all(inside(events(lake)["receive_time"], covered(lake)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_folds_everything(server, tmp_path, number):
    lake = tmp_path / "lake"
    with recorder(server, lake, "--rotate", "300") as process:
        send_all(server, [order(n) for n in range(50)])
        before = utc_now()
        printed = stop(process, number)
    assert "orders: 50 received, 50 new, 0 duplicates" in printed
    assert numbers(lake) == list(range(50))
    assert not journals(lake)
    [(_, until)] = covered(lake)
    assert until >= before - timedelta(seconds=1)


def test_two_recorders_share_a_lake(server, tmp_path):
    lake = tmp_path / "lake"
    with recorder(server, lake) as first:
        send_all(server, [order(n) for n in range(50)])
        with recorder(server, lake) as second:
            wait_for(lambda: server.clients == 2, "both are there")
            send_all(server, [order(n) for n in range(50, 250)])
            stop(first)
            send_all(server, [order(n) for n in range(250, 300)])
            stop(second)
    assert numbers(lake) == list(range(300))
    record = record_of(lake, f"{utc_now():%Y-%m}")
    assert (record.rows_in, record.rows_out) == (500, 300)
    assert (record.duplicates_dropped, record.conflicts_dropped) == (200, 0)
    assert len(covered(lake)) == 1, "the union has no hole"
    assert not journals(lake)


def test_a_recorder_takes_over_the_journal_of_one_that_died_beside_it(server, tmp_path):
    lake = tmp_path / "lake"
    with recorder(server, lake) as survivor:
        with recorder(server, lake, "--rotate", "300") as victim:
            wait_for(lambda: server.clients == 2, "both are there")
            send_all(server, [order(n) for n in range(10)])
            wait_for(lambda: len(numbers(lake)) == 10, "the survivor has folded")
            wait_for(lambda: any(len(j.rows) == 10 for j in journals(lake)), "the other has synced")
            victim.kill()
            victim.wait()
        wait_for(lambda: not any(j.rows for j in journals(lake)), "it is taken over")
        stop(survivor)
    record = record_of(lake, f"{utc_now():%Y-%m}")
    assert (record.rows_in, record.rows_out, record.duplicates_dropped) == (20, 10, 10)


def test_the_command_says_what_it_did(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PERP_LAKE", str(tmp_path / "lake"))
    arguments = [*RECORD, "--seconds", "0.3", "--json", "--stream-url", server.url]
    assert cli(arguments, standalone_mode=False) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["stopped_by"] == "time"
    assert summary["connections"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stream-url", "https://example.org"], "is not an address"),
        (["--stream-url", "ws://example.org"], "is not encrypted"),
        (["--import"], "name files or folders"),
        (["x.csv"], "write --import"),
        (["--recorded-from", "2024-01-01"], "go with --import"),
        (["--stream-url", "ws://127.0.0.1:1"], "holds exchange data and this run would land sand"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, monkeypatch, arguments, message):
    (tmp_path / "_lake.json").write_text('{"origin": "exchange"}')
    monkeypatch.setenv("PERP_LAKE", str(tmp_path))
    with pytest.raises(UsageError, match=message):
        cli([*RECORD, *arguments], standalone_mode=False)
