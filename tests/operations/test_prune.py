"""perp prune: what nobody needs goes, what somebody may need stays."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.lake import Lake, LandingLog
from ingest.verify import repair, verify
from tests.operations.conftest import Perp, land_hours

BTC = ("klines_1h", "BTCUSDT", "2024-01")
ZIP = "data/futures/um/monthly/klines/{0}/1h/{0}-1h-2024-01.zip"


def put(path: Path, content: str = "something", age: int = 3600) -> Path:
    """A file that was written before anything landed, or ``age`` seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    stamp = path.stat().st_mtime - age
    os.utime(path, (stamp, stamp))
    return path


@pytest.fixture
def clutter(lake: Lake) -> dict[str, Path]:
    """Files that may go and files that must stay, by what they are."""
    with contextlib.closing(LandingLog(lake.log_folder, "vision")) as log:
        eth = lake.state("vision")["klines_1h", "ETHUSDT", "2024-01"]
        bad = replace(eth.files[0], outcome="quarantined", error="bad")
        log.append(replace(eth, files=[bad]))
    done = lake.downloads("vision", BTC)
    waiting = lake.downloads("vision", ("klines_1h", "SOLUSDT", "2024-01"))
    logs = lake.root.parent / "logs"
    return {
        "download landed": put(done / "a.zip"),
        "download unfinished": put(waiting / "a.zip.part"),
        "download newer than the landing": put(done / "b.zip", age=-3600),
        "quarantined, landed since": put(lake.quarantine / ZIP.format("BTCUSDT")),
        "quarantined still": put(lake.quarantine / ZIP.format("ETHUSDT")),
        "quarantined, unknown": put(lake.quarantine / "somebody put this here"),
        "temporary of the dead": put(lake.partition_of(eth).with_name("data.parquet.4194305.tmp")),
        "temporary of the living": put(
            lake.partition_of(eth).with_name(f"data.parquet.{os.getpid()}.tmp")
        ),
        "journal": put(lake.tmp / "stream" / "20240101T000000000000.4194305-000001.jsonl"),
        "kept on request": put(lake.raw / ZIP.format("BTCUSDT")),
        "oldest run": put(logs / "20240101T000000.000000Z-build-1.jsonl"),
        "newest run": put(logs / "20240102T000000.000000Z-build-1.jsonl"),
    }


GOES = {"download landed", "quarantined, landed since", "temporary of the dead", "oldest run"}


def there(clutter: dict[str, Path]) -> set[str]:
    return {name for name, path in clutter.items() if path.exists()}


def test_what_is_not_needed_is_shown_and_then_removed(lake: Lake, clutter, perp: Perp):
    log = {p: p.read_bytes() for p in lake.log_folder.glob("*.jsonl")}
    code, out, _ = perp("prune", "--lake", lake.root, "--keep-runs", 1, "--dry-run")
    assert code == 0
    assert there(clutter) == clutter.keys()
    assert {name for name, path in clutter.items() if f"  {path}\n" in out} == GOES
    assert out.splitlines()[-1] == f"4 files and folders, {4 * len('something')} B, can go"

    code, _, err = perp("prune", "--lake", lake.root)
    assert code == 2
    assert "nothing removed; say --yes" in err
    assert there(clutter) == clutter.keys()

    code, out, _ = perp("prune", "--lake", lake.root, "--keep-runs", 1, "--yes")
    assert code == 0, out
    assert GOES.isdisjoint(there(clutter))
    assert there(clutter) >= clutter.keys() - GOES - {"newest run"}
    assert {p: p.read_bytes() for p in lake.log_folder.glob("*.jsonl")} == log
    assert verify(lake).ok


def test_downloads_kept_on_request_go_on_request(lake: Lake, clutter, perp: Perp):
    assert perp("prune", "--lake", lake.root, "--raw", "--yes")[0] == 0
    assert "kept on request" not in there(clutter)


def test_nothing_of_a_source_at_work_is_removed(lake: Lake, clutter, perp: Perp):
    from tests.ingest.test_lake import other_process

    with other_process("pass", lake):
        code, _, err = perp("prune", "--lake", lake.root, "--yes")
    assert code == 0
    assert "stays: another process works on its source" in err
    assert "download landed" in there(clutter)


def test_a_partition_set_aside_stays_until_all_of_it_has_landed_again(lake: Lake, perp: Perp):
    path = lake.partition_of(lake.state("vision")[BTC])
    path.write_bytes(path.read_bytes()[:-1])
    ((_, what),) = repair(lake, verify(lake).findings)
    (aside,) = (lake.quarantine / "partitions").rglob("*.parquet")
    assert str(aside) in what
    assert "nothing can go" in perp("prune", "--lake", lake.root, "--yes")[1]
    with contextlib.closing(LandingLog(lake.log_folder, "vision")) as log:
        land_hours(lake, log, *BTC[1:], 47)
        assert "nothing can go" in perp("prune", "--lake", lake.root, "--yes")[1], "an hour lacks"
        land_hours(lake, log, *BTC[1:], 48)
    assert "1 removed" in perp("prune", "--lake", lake.root, "--yes")[1]
    assert not aside.exists()
