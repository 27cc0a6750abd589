"""The lake and its log: whole files, whole lines, and who works on what."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ingest.datasets import SOURCES, VISION
from ingest.errors import UsageError
from ingest.lake import (
    SCHEMA_PARTITION,
    FileRecord,
    Lake,
    LandingLog,
    LandingRecord,
    LandingState,
    write_parquet,
)
from ingest.store import temporary


def prepared(tmp_path) -> Lake:
    lake = Lake(tmp_path / "lake")
    lake.prepare("sandbox")
    return lake


def some_record(month: str = "2024-01", status="landed") -> LandingRecord:
    files = [FileRecord("https://x/龙虾USDT.zip", month, status, error="a\nb")]
    return LandingRecord("vision", "klines_1m", "龙虾USDT", month, status, files=files)


def test_every_dataset_has_a_zero_row_file_with_its_schema(tmp_path):
    lake = prepared(tmp_path)
    for dataset in (d for datasets in SOURCES.values() for d in datasets.values()):
        path = lake.partition(dataset, SCHEMA_PARTITION, SCHEMA_PARTITION)
        assert pq.read_schema(path) == dataset.schema
        assert pq.read_metadata(path).num_rows == 0
        assert list(lake.partitions(dataset)) == []


def test_a_symbol_of_another_script_has_a_safe_path(tmp_path):
    lake = prepared(tmp_path)
    path = lake.partition(VISION["klines_1m"], "龙虾USDT", "2024-01")
    assert str(path.relative_to(lake.root)).isascii()
    write_parquet(path, VISION["klines_1m"].schema.empty_table(), VISION["klines_1m"])
    assert [(s, m) for s, m, _ in lake.partitions(VISION["klines_1m"])] == [("龙虾USDT", "2024-01")]


def test_log_round_trip_and_newest_record_wins(tmp_path):
    lake = prepared(tmp_path)
    first, second = LandingLog(lake.log_folder, "vision"), LandingLog(lake.log_folder, "vision")
    second.append(some_record(status="quarantined"))
    first.append(some_record(status="failed"))
    first.append(some_record("2024-02"))
    first.close(), second.close()
    state = lake.state("vision")
    assert state["klines_1m", "龙虾USDT", "2024-01"].status == "quarantined", "the later writer"
    assert state["klines_1m", "龙虾USDT", "2024-02"].files[0].error == "a\nb"
    assert len(list(lake.history("vision"))) == 3


def test_a_torn_line_is_no_record_and_is_cut_by_the_next_writer(tmp_path):
    lake = prepared(tmp_path)
    log = LandingLog(lake.log_folder, "vision")
    log.append(some_record())
    log.append(some_record("2024-02"))
    log.close()
    whole = log.path.read_bytes()
    for cut in (1, 40, len(whole.splitlines(keepends=True)[1]) - 1):
        log.path.write_bytes(whole[:-cut])
        assert [r.month for r in lake.history("vision")] == ["2024-01"]
    with lake.shared("vision"):
        pass
    assert log.path.read_bytes() == whole.splitlines(keepends=True)[0]


def test_a_log_without_lines_leaves_no_file(tmp_path):
    lake = prepared(tmp_path)
    LandingLog(lake.log_folder, "vision").close()
    assert list(lake.log_folder.glob("*.jsonl")) == []


def test_done_means_logged_size_and_footer(tmp_path):
    lake = prepared(tmp_path)
    record = some_record()
    dataset = VISION["klines_1m"]
    path = lake.partition_of(record)
    assert not lake.is_intact(record)
    record.parquet_bytes, _ = write_parquet(path, dataset.schema.empty_table(), dataset)
    assert lake.is_intact(record)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert not lake.is_intact(record)
    path.write_bytes(content[:-4] + b"XXXX")
    assert not lake.is_intact(record)


@contextmanager
def other_process(code: str, lake: Lake) -> Iterator[None]:
    """A Python process that works on the lake, has run ``code``, and is killed in the end."""
    code = f"""
import time
from pathlib import Path
from ingest.lake import Lake, LandingLog
lake = Lake(Path({str(lake.root)!r}))
with lake.shared("vision") as claims:
    {code}
    print("ready", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        process.kill()


def test_a_claim_keeps_others_off_and_ends_with_its_process(tmp_path):
    lake = prepared(tmp_path)
    january, february = (("klines_1m", "BTCUSDT", f"2024-0{m}") for m in (1, 2))
    with lake.shared("vision") as claims:
        with other_process(f"assert claims.take({january!r})", lake):
            assert not claims.take(january)
            assert claims.take(february)
        assert claims.take(january)


def test_only_a_process_that_is_alone_cleans_up(tmp_path):
    lake = prepared(tmp_path)
    stray = lake.partition(VISION["klines_1m"], "BTCUSDT", "2024-01").with_name(
        "data.parquet.123.tmp"
    )
    stray.parent.mkdir(parents=True)
    with other_process("pass", lake):
        stray.write_bytes(b"half")
        with lake.shared("vision"):
            assert stray.exists(), "it may be the other one's"
    with lake.shared("vision"):
        assert not stray.exists()


def test_a_lake_is_not_cleaned_while_another_process_prepares_it(tmp_path, monkeypatch):
    """Two processes that start on a new lake at once: what one is writing, the other leaves."""
    lake = prepared(tmp_path)
    lake.partition(VISION["klines_1m"], SCHEMA_PARTITION, SCHEMA_PARTITION).unlink()

    def write(path: Path, *_: object) -> None:
        half = temporary(path)
        half.write_bytes(b"half")
        with lake.shared("vision"):
            assert half.exists()

    monkeypatch.setattr("ingest.lake.write_parquet", write)
    lake.prepare("sandbox")


def test_a_record_is_newer_than_the_one_it_follows_whoever_wrote_that(tmp_path):
    lake = prepared(tmp_path)
    first, second = LandingLog(lake.log_folder, "vision"), LandingLog(lake.log_folder, "vision")
    failed = some_record(status="failed")
    second.append(failed)
    first.append(some_record("2024-02"))
    first.append(some_record(status="landed"), after=failed.log_seq)
    assert lake.state("vision")["klines_1m", "龙虾USDT", "2024-01"].status == "landed"
    assert len(list(lake.log_folder.glob("*.jsonl"))) == 3
    first.close(), second.close()


def test_the_state_follows_what_others_append(tmp_path):
    lake = prepared(tmp_path)
    state = LandingState(lake.log_folder, "vision")
    log = LandingLog(lake.log_folder, "vision")
    assert state.refresh() == {}
    log.append(some_record())
    assert len(state.refresh()) == 1
    with log.path.open("ab") as torn:
        torn.write(b'{"source":"vis')
    assert len(state.refresh()) == 1
    with log.path.open("ab") as torn:
        torn.write(b'ion","dataset":"d","symbol":"s","month":"m","status":"failed"}\n')
    assert state.refresh()["d", "s", "m"].status == "failed"


def test_one_lake_holds_one_market(tmp_path):
    lake = prepared(tmp_path)
    with pytest.raises(UsageError, match="holds sandbox data and this run would land exchange"):
        lake.prepare("exchange")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    dataset = VISION["klines_1m"]
    path = tmp_path / "data.parquet"
    write_parquet(path, dataset.schema.empty_table(), dataset)
    before = path.read_bytes()
    (tmp_path / f"data.parquet.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_parquet(path, dataset.schema.empty_table(), dataset)
    assert path.read_bytes() == before
