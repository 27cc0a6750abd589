"""Run logs: one a run, with its outcome, without secrets, and of a bounded size."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ingest import runlog
from ingest.lake import Lake
from ingest.sandbox import server as faults
from tests.ingest.conftest import key
from tests.operations.conftest import Archive, Perp
from tests.operations.test_retry import environment

JANUARY = ("--symbols", "BTCUSDT,ETHUSDT", "--datasets", "klines_1h", "--start", "2024-01-01",
           "--end", "2024-01-31", "--attempts", "1", "--workers", "1")  # fmt: skip


def entries(lake: Path) -> list[dict[str, object]]:
    (path,) = runlog.folder_of(lake).glob("*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_leaves_a_log_with_its_failures_and_its_summary(archive: Archive, perp: Perp):
    archive.server.always[key("ETHUSDT", "2024-01")] = faults.status(403)
    env = environment(archive)
    code, out, _ = perp("ingest", "archive", *JANUARY, **env)
    assert code == 1
    start, *_, end = written = entries(archive.config.lake)
    assert start["command"] == "perp ingest archive"
    assert start["pid"] == os.getpid()
    assert start["arguments"]["symbols"] == "BTCUSDT,ETHUSDT"
    assert str(start["time"]).startswith("20")
    notes = [e["text"] for e in written if e["event"] == "note"]
    assert any("ETHUSDT-1h-2024-01.zip: HTTP 403: access denied" in n for n in notes)
    assert [e["text"] for e in written if e["event"] == "summary"] == [out.strip()]
    assert (end["event"], end["code"]) == ("end", 1)

    code, out, _ = perp("status", "--runs", **env)
    assert code == 0
    assert "failed in " in out
    assert "perp ingest archive --symbols BTCUSDT,ETHUSDT" in out
    assert "partitions: 1 landed" in out
    (run,) = json.loads(perp("status", "--runs", "--json", **env)[1])
    assert (run["outcome"], run["code"]) == ("failed", 1)
    assert len(entries(archive.config.lake)) == len(written), "to look leaves no log"


def test_the_key_is_in_no_log(lake: Lake, perp: Perp, monkeypatch):
    """Not from the environment, not from an argument, not from an address, not from a warning."""
    secret = "TD.abcdefgh12345678"
    monkeypatch.setenv("TARDIS_API_KEY", secret)
    arguments = {"vars": f"{{key: {secret}}}", "url": "https://me:word@host/x", "api_key": "other"}
    with runlog.recorded(lake.root, "build", arguments):
        logging.getLogger("anything").warning("refused: %s", secret)
        runlog.note(f"https://host/?k={secret}")
        runlog.progress(lambda: f"now {secret}")
        print(f"done with {secret}")
        (now,) = runlog.folder_of(lake.root).glob("*.now")
        assert now.read_text() == "now ***"
    (path,) = runlog.folder_of(lake.root).glob("*")
    text = path.read_text()
    assert secret not in text
    assert "me:word" not in text
    assert "other" not in text
    assert len([e for e in entries(lake.root) if "***" in json.dumps(e)]) == 4
    perp("ingest", "tardis", "--path", lake.root / secret, PERP_LAKE=lake.root)
    assert secret not in "".join(p.read_text() for p in path.parent.glob("*.jsonl"))


@pytest.mark.parametrize(
    ("error", "code", "outcome"),
    [(KeyboardInterrupt(), 130, "interrupted"), (ValueError("odd"), 1, "failed")],
)
def test_however_it_ends_the_end_is_on_record(lake: Lake, error, code, outcome):
    with pytest.raises(type(error)), runlog.recorded(lake.root, "build", {}):
        raise error
    (run,) = runlog.runs(runlog.folder_of(lake.root), 20)
    assert (run.code, run.outcome) == (code, outcome)


def test_a_refused_request_is_on_record_and_a_look_is_not(lake: Lake, perp: Perp):
    env = {"PERP_LAKE": lake.root}
    assert perp("ingest", "archive", "--start", "2999-01-01", **env)[0] == 2
    (run,) = runlog.runs(runlog.folder_of(lake.root), 20)
    assert run.outcome == "refused"
    assert "is after yesterday" in run.last
    for look in (["status"], ["verify"], ["prune", "--dry-run"], ["retry", "--dry-run"]):
        assert perp(*look, **env)[0] == 0
    assert len(runlog.runs(runlog.folder_of(lake.root), 20)) == 1


def test_a_log_has_an_end_though_it_is_full(lake: Lake, monkeypatch):
    monkeypatch.setattr(runlog, "MAX_BYTES", 1000)
    with runlog.recorded(lake.root, "build", {}):
        for n in range(100):
            runlog.note(f"message {n} of many")
    (path,) = runlog.folder_of(lake.root).glob("*.jsonl")
    assert path.stat().st_size < 1200
    assert entries(lake.root)[-1]["event"] == "end"


def test_without_a_place_for_logs_the_command_runs_and_says_so(lake: Lake, tmp_path, perp: Perp):
    blocker = tmp_path / "file"
    blocker.write_text("")
    code, _, err = perp("prune", "--yes", PERP_LAKE=lake.root, PERP_LOGS=blocker / "logs")
    assert code == 0
    assert "this run has no log" in err
    assert "set PERP_LOGS" in err
    chosen = tmp_path / "elsewhere"
    assert perp("prune", "--yes", PERP_LAKE=lake.root, PERP_LOGS=chosen)[0] == 0
    assert len(list(chosen.glob("*-prune-*.jsonl"))) == 1


def test_a_run_that_goes_on_and_one_that_was_killed_are_told_apart(lake: Lake):
    code = f"""
import time
from pathlib import Path
from ingest import runlog
with runlog.recorded(Path({str(lake.root)!r}), "ingest api", {{}}):
    runlog.progress(lambda: "half way")
    print("ready", flush=True)
    time.sleep(60)
"""
    folder = runlog.folder_of(lake.root)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (run,) = runlog.running(folder)
        assert (run.pid, run.command, run.now) == (process.pid, "perp ingest api", "half way")
        process.send_signal(signal.SIGKILL)
    assert runlog.running(folder) == []
    assert [r.outcome for r in runlog.runs(folder, 20)] == ["killed"]
