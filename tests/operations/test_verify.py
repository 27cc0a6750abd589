"""perp verify: every kind of damage is found and named, and repair loses nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ingest.datasets import STREAM, VISION
from ingest.lake import Lake, LandingLog, LandingRecord, write_parquet
from ingest.store import temporary
from ingest.verify import verify
from tests.operations.conftest import Archive, Perp, hours, land_hours

BTC = ("klines_1h", "BTCUSDT", "2024-01")


def path_of(lake: Lake) -> Path:
    return lake.partition(VISION["klines_1h"], *BTC[1:])


def test_a_sound_lake_has_no_finding(lake: Lake, perp: Perp):
    code, out, err = perp("verify", "--lake", lake.root)
    assert code == 0, out
    assert "4 partitions" in out
    assert "nothing is wrong" in out
    assert "4/4 files" in err


def flip(path: Path) -> None:
    """Change one byte in the middle: size and footer stay."""
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)


def other_rows(n: int) -> Callable[[Path], None]:
    return lambda path: pq.write_table(hours("2024-01", n), path)


DAMAGE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a file is gone": (Path.unlink, "missing", "it is missing"),
    "a file is cut short": (
        lambda p: p.write_bytes(p.read_bytes()[:-1]), "differs", "bytes, the log says",
    ),
    "a bit has flipped": (flip, "differs", "its sha256 is"),
    "a file of another size": (other_rows(47), "differs", "bytes, the log says"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_found_and_named(lake: Lake, perp: Perp, case):
    damage, kind, message = DAMAGE[case]
    damage(path_of(lake))
    code, out, _ = perp("verify", "--lake", lake.root)
    first = out.splitlines()[0]
    assert code == 1
    assert first.startswith(f"{kind}: {path_of(lake)}: ")
    assert message in first
    assert "run perp retry --datasets klines_1h --symbols BTCUSDT" in first
    assert f"1 {kind}" in out.splitlines()[-1]


LIES: dict[str, tuple[dict[str, object], str]] = {
    "rows": ({"rows_out": 47}, "it has 48 rows, the log says 47"),
    "first time": ({"first_time": "2024-01-01T01:00:00"}, "its times run from 2024-01-01 00:00:00"),
    "last time": ({"last_time": "2024-01-03T00:00:00"}, "the log says"),
}


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("case", LIES)
def test_what_the_footer_says_is_compared(lake: Lake, case, quick):
    changes, message = LIES[case]
    with contextlib.closing(LandingLog(lake.log_folder, "vision")) as log:
        log.append(replace(lake.state("vision")[BTC], **changes))
    (finding,) = verify(lake, quick=quick).findings
    assert message in finding.what


def test_other_columns_are_found_though_the_file_is_as_logged(lake: Lake):
    table = hours("2024-01", 48).rename_columns(["time", *VISION["klines_1h"].schema.names[1:]])
    pq.write_table(table, path_of(lake))
    content = path_of(lake).read_bytes()
    with contextlib.closing(LandingLog(lake.log_folder, "vision")) as log:
        record = replace(lake.state("vision")[BTC], parquet_bytes=len(content))
        log.append(replace(record, parquet_sha256=hashlib.sha256(content).hexdigest()))
    (finding,) = verify(lake).findings
    assert finding.what == "its columns are not those of the dataset"


def test_quick_reads_no_checksums(lake: Lake):
    flip(path_of(lake))
    assert verify(lake, quick=True).ok
    assert not verify(lake).ok


def test_files_without_record_and_leftovers_are_told_apart(lake: Lake, perp: Perp):
    stray = lake.partition(VISION["klines_1h"], "SOLUSDT", "2024-01")
    write_parquet(stray, hours("2024-01", 3), VISION["klines_1h"])
    dead = path_of(lake).with_name("data.parquet.4194305.tmp")  # no process has such a number
    dead.write_bytes(b"half")
    ours = temporary(path_of(lake))
    ours.write_bytes(b"being written")
    code, out, _ = perp("verify", "--lake", lake.root)
    assert code == 1
    assert f"unlogged: {stray}: no record tells of it" in out
    assert f"leftover: {dead}: a killed process left it; remove it with: perp prune" in out
    assert str(ours) not in out
    stray.unlink()
    assert perp("verify", "--lake", lake.root)[0] == 0, "a leftover is in nobody's way"


def test_only_what_is_chosen_is_looked_at(lake: Lake, perp: Perp):
    path_of(lake).unlink()
    assert perp("verify", "--lake", lake.root, "--symbols", "ETHUSDT")[0] == 0
    assert perp("verify", "--lake", lake.root, "--datasets", "funding_rate")[0] == 0
    assert perp("verify", "--lake", lake.root, "--symbols", "btcusdt")[0] == 1


def test_a_damaged_log_is_a_finding_and_the_other_sources_are_looked_at(lake: Lake, perp: Perp):
    (log,) = lake.log_folder.glob("*-vision.jsonl")
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0] + b"{rubbish\n" + b"".join(lines[1:]))
    code, out, _ = perp("verify", "--lake", lake.root)
    assert code == 1
    assert f"{log} is damaged: the line at byte {len(lines[0]):,} is no landing record" in out
    code, _, err = perp("status", "--lake", lake.root)
    assert (code, err.count("\n")) == (1, 1)
    assert "delete that line" in err


def test_processes_find_the_same(lake: Lake, monkeypatch):
    flip(path_of(lake))
    expected = [f.line for f in verify(lake).findings]
    monkeypatch.setattr("ingest.verify._CHUNK", 1)
    assert [f.line for f in verify(lake).findings] == expected
    assert len(expected) == 1


def test_a_file_that_lands_meanwhile_is_no_finding(lake: Lake, monkeypatch):
    """Between the file and its log line a partition looks damaged."""
    import ingest.verify as module

    record = lake.state("vision")[BTC]
    checked = module.check_files

    def replace_and_check(files, quick):
        with contextlib.closing(LandingLog(lake.log_folder, "vision")) as log:
            land_hours(lake, log, "BTCUSDT", "2024-01", 50)
        return checked(files, quick)

    monkeypatch.setattr(module, "check_files", replace_and_check)
    assert verify(lake).findings == []
    assert lake.state("vision")[BTC].log_seq > record.log_seq


# ------------------------------------------------------------------------------------ repair
def test_repair_sets_aside_and_the_next_ingest_lands_the_same_again(archive: Archive, perp: Perp):
    archive.ingest()
    before, lake = archive.contents(), archive.lake
    flip(path_of(lake))
    bad = path_of(lake).read_bytes()
    seq = archive.record().log_seq
    code, out, _ = perp("verify", "--lake", lake.root, "--repair")
    assert code == 1
    kept = (
        lake.quarantine / f"partitions/vision/klines_1h/symbol=BTCUSDT/month=2024-01/{seq}.parquet"
    )
    assert f"moved to {kept}; on record as failed" in out
    assert kept.read_bytes() == bad
    assert archive.record().status == "failed"
    assert "its sha256 is" in archive.record().files[0].error
    assert perp("verify", "--lake", lake.root)[0] == 0, "what is on record as failed is no surprise"

    assert archive.ingest().ok
    assert archive.contents() == before
    assert len(list(lake.history("vision"))) == 4, "every record stays"


def test_repair_of_a_missing_file_puts_it_on_record(lake: Lake, perp: Perp):
    path_of(lake).unlink()
    code, out, _ = perp("verify", "--lake", lake.root, "--repair", "--json")
    report = json.loads(out)
    assert code == 1
    assert [f["kind"] for f in report["findings"]] == ["missing"]
    assert "there was no file to move; on record as failed" in report["repaired"][0]["done"]
    assert lake.state("vision")[BTC].parquet_bytes is None


def test_recorded_orders_that_can_be_read_are_not_moved_away(lake: Lake, perp: Perp):
    """A recorder killed between file and log line: the next one counts those rows."""
    dataset = STREAM["liquidations"]
    record = LandingRecord("stream", "liquidations", "_market", "2024-01", "landed", "", "")
    path = lake.partition_of(record)
    record.parquet_bytes, record.parquet_sha256 = write_parquet(
        path, dataset.schema.empty_table(), dataset
    )
    with contextlib.closing(LandingLog(lake.log_folder, "stream")) as log:
        log.append(replace(record, parquet_bytes=record.parquet_bytes - 1))
    code, out, _ = perp("verify", "--lake", lake.root, "--repair")
    assert code == 1
    assert f"repair: {path}: left where it is: its rows can be read" in out
    assert path.exists()
    path.write_bytes(b"PAR1 rubbish PAR1")
    out = perp("verify", "--lake", lake.root, "--repair")[1]
    assert f"repair: {path}: moved to " in out
    assert lake.state("stream")[record.key].status == "failed"


def test_repair_leaves_a_partition_that_is_being_landed(lake: Lake, perp: Perp):
    from tests.ingest.test_lake import other_process

    path_of(lake).unlink()
    with other_process(f"assert claims.take({BTC!r})", lake):
        code, out, _ = perp("verify", "--lake", lake.root, "--repair")
        assert code == 0, "it is not a finding while it is being written"
    assert "missing" not in out
    assert perp("verify", "--lake", lake.root)[0] == 1
