"""A lake in a bucket: the same partitions and guarantees as in a folder, over real HTTP."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from ingest.builds import last_landing
from ingest.captures import import_captures
from ingest.config import Config
from ingest.datasets import VISION
from ingest.errors import PerpError, UsageError
from ingest.lake import Lake, LandingLog, LandingState, write_parquet
from ingest.store import ObjectPath, lake_path, local_side, store_of
from tests.ingest.conftest import hour_bars, key, lake_contents
from tests.ingest.test_kill import PERP
from tests.object_server import BUCKET, LOST, Answer, Asked, ObjectServer, error
from tests.operations.conftest import Archive, Perp, hours, land_hours

ADDRESS = f"s3://{BUCKET}/some/lake"
PARTITION = r"symbol=BTCUSDT/month=2024-01/data\.parquet$"
LOG = r"_log/.*\.jsonl$"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectServer]:
    """An object store that this process and those it starts are led to."""
    with ObjectServer(page_size=20) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PERP_SCRATCH", str(tmp_path / "scratch"))
        monkeypatch.setenv("PERP_LAKE", ADDRESS)
        yield made


@pytest.fixture
def far(archive: Archive, server: ObjectServer) -> Archive:
    """The archive, to land in the bucket."""
    return replace(archive, config=replace(archive.config, lake=lake_path(ADDRESS)))


def partitions(server: ObjectServer) -> dict[str, str]:
    """sha256 of every data file in the bucket, by path relative to the lake."""
    return {
        name.removeprefix("some/lake/"): hashlib.sha256(
            server.objects[f"{BUCKET}/{name}"]
        ).hexdigest()
        for name in server.keys(r"symbol=.*data\.parquet$")
    }


def on(method: str, pattern: str, answer: Answer | Callable[[], object]) -> Callable[..., object]:
    """A fault for the requests of a method whose path a pattern is found in."""

    def fault(asked: Asked) -> Answer | None:
        if asked.method != method or not re.search(pattern, asked.path):
            return None
        if isinstance(answer, Answer):
            return answer
        answer()
        return LOST

    return fault


def perp_command(far: Archive, symbols: str) -> tuple[list[str], dict[str, str]]:
    args = [
        str(PERP), "ingest", "archive", "--symbols", symbols, "--datasets", "klines_1h",
        "--start", "2024-01-01", "--end", "2024-01-31", "--workers", "1",
        "--archive-url", far.server.archive_url,
        "--archive-listing-url", far.server.listing_url,
    ]  # fmt: skip
    return args, dict(os.environ)


# ------------------------------------------------------------------------------------- landing
def test_a_bucket_holds_what_a_folder_would(
    archive: Archive, far: Archive, server: ObjectServer, perp: Perp
):
    for lake in (archive, far):
        lake.ingest()
        archive.put("BTCUSDT", "2024-02-01", hour_bars(date(2024, 2, 1)))
        lake.ingest(end="2024-02-29")
        archive.put("BTCUSDT", "2024-02-02", hour_bars(date(2024, 2, 2)))
        lake.ingest(end="2024-02-29")  # the first day is taken over from the partition
        for day in (1, 2):
            (archive.root / key("BTCUSDT", f"2024-02-{day:02d}")).unlink()
        archive.server.refresh()
    assert partitions(server) == archive.contents()
    assert len(archive.contents()) > 3
    there, here = far.lake.state("vision"), archive.lake.state("vision")
    assert {k: (r.status, r.rows_out, r.parquet_sha256) for k, r in there.items()} == {
        k: (r.status, r.rows_out, r.parquet_sha256) for k, r in here.items()
    }
    unfinished = [p for p in far.lake.local.rglob("*") if p.is_file()]
    assert {p.suffix for p in unfinished} == {".lock", ".claims"}, "only locks stay on this machine"

    assert perp("verify")[0] == 0
    code, out, _ = perp("status")
    assert code == 0
    assert "BTCUSDT  2024-01…2024-02" in out
    writes = server.count("PUT")
    assert far.ingest().up_to_date == 2
    assert server.count("PUT") == writes, "nothing new: nothing written"


def test_a_folder_copied_to_a_bucket_is_the_same_lake(
    archive: Archive, far: Archive, server: ObjectServer, perp: Perp
):
    archive.ingest()
    root = archive.config.lake
    for path in root.rglob("*.*"):
        server.objects[f"{BUCKET}/some/lake/{path.relative_to(root)}"] = path.read_bytes()
    assert perp("verify")[0] == 0
    assert far.ingest().up_to_date == 2
    assert last_landing(far.lake) == last_landing(archive.lake) is not None


def test_captures_are_added_to_what_the_bucket_holds(
    far: Archive, server: ObjectServer, tmp_path: Path
):
    line = "BTC,SELL,LIMIT,IOC,0.014,33709.67,33882.29,FILLED,0.014,0.014,{},474.35\n"
    files = [tmp_path / f"{n}.csv" for n in (1, 2)]
    for n, path in enumerate(files):
        path.write_text(line.format(1_700_000_000_000 + n))
    assert [import_captures(far.config, [path]).new for path in files] == [1, 1]
    assert import_captures(far.config, files).unchanged == 2
    (record,) = far.lake.state("import").values()
    assert record.rows_out == 2
    assert far.lake.is_intact(record)


def test_a_quarantined_file_goes_to_the_bucket_until_a_good_one_has_landed(
    far: Archive, server: ObjectServer, perp: Perp
):
    bad = far.put("BTCUSDT", "2024-01", ["1,2,3"])
    far.ingest()
    name = f"some/lake/_quarantine/{key('BTCUSDT', '2024-01')}"
    assert server.objects[f"{BUCKET}/{name}"] == bad.read_bytes()
    assert f"kept as s3://{BUCKET}/{name}" in perp("status", "--failed")[1]
    assert "nothing can go" in perp("prune", "--yes")[1]
    far.put_month("BTCUSDT", "2024-01")
    far.ingest()
    assert "1 removed" in perp("prune", "--yes")[1]
    assert server.keys("_quarantine/.*zip") == []


# -------------------------------------------------------------------------------------- faults
@pytest.mark.parametrize("lost", [True, False], ids=["unanswered", "part refused"])
def test_an_upload_that_breaks_leaves_the_old_object(
    server: ObjectServer, tmp_path: Path, lost: bool
):
    path = ObjectPath(f"{BUCKET}/x/data.parquet")
    store_of(path).write(path, b"old")
    large = tmp_path / "large"
    large.write_bytes(os.urandom(11 << 20))  # goes in two parts

    def fault(asked: Asked) -> Answer | None:
        if asked.query.get("partNumber") != "2":
            return None
        return LOST if lost else error(403, "AccessDenied")

    server.faults.append(fault)
    with pytest.raises(PerpError, match="cannot be reached" if lost else "refuses"):
        store_of(path).put(large, path)
    assert server.objects == {str(path.key): b"old"}
    assert large.exists()
    server.faults.clear()
    store_of(path).put(large, path)
    assert len(server.objects[path.key]) == 11 << 20
    assert not large.exists()


def test_a_server_that_asks_to_slow_down_is_asked_again(far: Archive, server: ObjectServer):
    told: list[Asked] = []

    def busy(asked: Asked) -> Answer | None:
        if asked.method == "GET" or len(told) == 2:
            return None
        told.append(asked)
        return error(503, "SlowDown")

    server.faults.append(busy)
    assert far.ingest().ok
    assert len(told) == 2


def test_what_cannot_be_written_is_said_and_what_has_landed_stays(
    far: Archive, server: ObjectServer, perp: Perp
):
    far.ingest(symbols=("ETHUSDT",))
    server.faults.append(on("PUT", PARTITION, error(403, "AccessDenied")))
    with pytest.raises(UsageError, match=r"refuses s3://.*month=2024-01.*AWS_ACCESS_KEY_ID"):
        far.ingest()
    server.faults.clear()
    assert perp("verify")[0] == 0
    assert far.ingest().partitions["landed"] == 1


BEFORE, AFTER = "faults", "after"


@pytest.mark.parametrize(
    ("what", "when", "verified"),
    [
        (PARTITION, BEFORE, 0),
        (PARTITION, AFTER, 1),
        (LOG, BEFORE, 1),
        (LOG, AFTER, 0),
    ],
    ids=["in the upload", "behind the upload", "before the log", "behind the log"],
)
def test_killed_between_object_and_log_it_resumes_to_the_same_lake(
    archive: Archive, far: Archive, server: ObjectServer, perp: Perp, what, when, verified
):
    archive.ingest(symbols=("BTCUSDT",))
    args, env = perp_command(far, "BTCUSDT")
    process: list[subprocess.Popen[bytes]] = []
    getattr(server, when).append(on("PUT", what, lambda: process[0].kill()))
    process.append(subprocess.Popen(args, env=env, stdout=-1, stderr=-1))
    process[0].communicate()
    assert process[0].returncode == -9
    getattr(server, when).clear()

    assert partitions(server).items() <= archive.contents().items(), "whatever is visible is whole"
    code, out, _ = perp("verify")
    assert (code, "unlogged" in out) == (verified, bool(verified))
    again = subprocess.run(args, env=env, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert partitions(server) == archive.contents()
    assert perp("verify")[0] == 0
    assert not list(far.lake.local.rglob("*.tmp"))
    last = subprocess.run(args, env=env, capture_output=True, text=True, check=True)
    assert "0 landed, 1 up to date" in last.stdout


def test_a_replaced_partition_without_its_log_line_is_landed_again(
    far: Archive, server: ObjectServer, perp: Perp
):
    far.ingest()
    lines = [line for d in range(1, 32) for line in hour_bars(date(2024, 1, d), close=10 + d / 7)]
    far.put("BTCUSDT", "2024-01", lines)  # upstream replaces it
    server.faults.append(on("PUT", LOG, error(403, "AccessDenied")))
    with pytest.raises(UsageError):
        far.ingest()
    server.faults.clear()
    assert "damaged" in perp("status")[1]
    assert "differs" in perp("verify")[1]
    assert far.ingest().partitions["landed"] == 1
    assert perp("verify")[0] == 0


def test_a_bad_partition_is_set_aside_landed_again_and_pruned(
    far: Archive, server: ObjectServer, perp: Perp
):
    far.ingest()
    (name,) = server.keys(PARTITION)
    server.objects[f"{BUCKET}/{name}"] = b"PAR1 cut PAR1"
    code, out, _ = perp("verify", "--repair")
    assert code == 1
    (aside,) = server.keys("_quarantine/partitions/.*parquet")
    assert f"moved to s3://{BUCKET}/{aside}" in out
    assert server.keys(PARTITION) == []
    assert far.ingest().partitions["landed"] == 1
    assert perp("verify")[0] == 0
    assert "1 removed" in perp("prune", "--yes")[1]
    assert server.keys("_quarantine/partitions/.*parquet") == []


# ----------------------------------------------------------------------------------- the log
def test_writers_that_take_the_same_number_lose_nothing(server: ObjectServer, monkeypatch):
    lake = Lake(lake_path(ADDRESS))
    with monkeypatch.context() as patched:  # both look before either has written
        patched.setattr("ingest.store._next_number", lambda _: "00000007")
        first, second = (LandingLog(lake.log_folder, "vision") for _ in range(2))
    land_hours(lake, first, "BTCUSDT", "2024-01", 24)
    land_hours(lake, second, "ETHUSDT", "2024-01", 24)
    land_hours(lake, second, "ETHUSDT", "2024-02", 24)
    newest = land_hours(lake, second, "BTCUSDT", "2024-01", 48)
    follows = replace(newest, rows_out=72)
    first.append(follows, after=newest.log_seq)
    state = LandingState(lake.log_folder, "vision").refresh()
    assert len(state) == 3
    assert state[newest.key].rows_out == 72, "the one that follows is the newest"
    assert len(list(lake.history("vision"))) == 5
    assert len(server.keys(LOG)) == 3


def test_a_log_is_split_and_read_on_from_where_a_reader_was(server: ObjectServer, monkeypatch):
    monkeypatch.setattr("ingest.store._SEGMENT_BYTES", 4_000)
    lake = Lake(lake_path(ADDRESS))
    state = LandingState(lake.log_folder, "vision")
    with contextlib.closing(LandingLog(lake.log_folder, "vision")) as log:
        for n in range(1, 21):
            record = land_hours(lake, log, "BTCUSDT", f"{2000 + n}-01", 24)
            assert len(state.refresh()) == n
            assert max(state.records.values(), key=lambda r: r.log_seq).key == record.key
    sizes = [len(server.objects[f"{BUCKET}/{name}"]) for name in server.keys(LOG)]
    assert len(sizes) > 3
    assert max(sizes) < 6_000
    assert len(lake.state("vision")) == 20


def test_a_line_of_which_nobody_knows_is_no_harm(server: ObjectServer):
    lake = Lake(lake_path(ADDRESS))
    with contextlib.closing(LandingLog(lake.log_folder, "vision")) as log:
        first = land_hours(lake, log, "BTCUSDT", "2024-01", 24)
        state = LandingState(lake.log_folder, "vision")
        server.after.append(on("PUT", LOG, error(403, "AccessDenied")))  # stored, but not said
        with pytest.raises(UsageError):
            log.append(replace(first, rows_out=1))
        server.after.clear()
        assert state.refresh()[first.key].rows_out == 1
        log.append(replace(first, rows_out=2), after=first.log_seq)
        assert state.refresh()[first.key].rows_out == 2
    assert len(server.keys(LOG)) == 2


def test_processes_of_one_machine_share_a_bucket(far: Archive, server: ObjectServer, perp: Perp):
    args, env = perp_command(far, "BTCUSDT,ETHUSDT")
    both = [subprocess.Popen(args, env=env, stdout=-1, text=True) for _ in range(2)]
    outs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outs
    records = [r for r in far.lake.history("vision") if r.status == "landed"]
    assert sorted(r.symbol for r in records) == ["BTCUSDT", "ETHUSDT"], "each landed once"
    assert perp("verify")[0] == 0


# --------------------------------------------------------------------------------- who may, where
COMMANDS = (("status",), ("verify",), ("prune", "--yes"), ("retry",), ("ingest", "api"))


WRONG = [
    ({"PERP_LAKE": "s3://no-such-bucket/lake"}, "there is no bucket no-such-bucket at http://"),
    ({"AWS_ACCESS_KEY_ID": "somebody-else"}, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ({"PERP_LAKE": "gs://bucket/lake"}, "is no address of a lake"),
    ({"AWS_ENDPOINT_URL": "http://store.example:9000"}, "is not encrypted; use https://"),
    ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "check the connection, AWS_ENDPOINT_URL"),
]


@pytest.mark.parametrize(
    ("command", "settings", "message"),
    [
        *((command, *wrong) for command in COMMANDS for wrong in WRONG[:3]),
        *((COMMANDS[0], *wrong) for wrong in WRONG[3:]),
    ],
)
def test_a_wrong_setting_is_named(server: ObjectServer, command, settings, message):
    done = subprocess.run(
        [PERP, *command], env={**os.environ, **settings}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == (1 if "127.0.0.1:9" in str(settings) else 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "a-secret-of-tests" not in done.stderr


@pytest.mark.parametrize("text", ["s3://", "s3://Bucket/x", "s3://bucket/../x", "s3://b ucket/x"])
def test_an_address_that_cannot_be_is_refused(text: str):
    with pytest.raises(UsageError, match="is no address of a lake"):
        lake_path(text)


def test_addresses(monkeypatch, tmp_path: Path):
    path = lake_path("s3://bucket/some/lake/")
    assert str(path) == str(path.absolute()) == "s3://bucket/some/lake"
    assert str(path / "_log" / "x.jsonl") == "s3://bucket/some/lake/_log/x.jsonl"
    assert (path / "a/b").relative_to(path).parts == ("a", "b")
    assert lake_path("data/lake") == Path("data/lake")
    monkeypatch.setenv("PERP_SCRATCH", str(tmp_path))
    assert local_side(path / "x") == tmp_path / "bucket/some/lake/x"
    monkeypatch.setenv("PERP_LAKE", "s3://bucket/lake")
    assert str(Config.from_env().lake) == "s3://bucket/lake"
    assert Config.from_env(lake=path).lake == path


def test_an_interrupt_does_not_cut_an_upload_short(server: ObjectServer, tmp_path: Path):
    """Ctrl-C while an object is sent: the object that stands there is the old one or the new."""
    lake, dataset = Lake(lake_path(ADDRESS)), VISION["klines_1h"]
    path = lake.partition(dataset, "BTCUSDT", "2024-01")
    write_parquet(path, hours("2024-01", 24), dataset)
    old = server.objects[path.key]
    code = f"""
from ingest.store import lake_path, store_of
path = lake_path({str(path)!r})
print("ready", flush=True)
store_of(path).write(path, b"new" * 10_000_000)  # goes in several parts
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    sent = threading.Event()

    def interrupt(asked: Asked) -> None:
        if asked.method == "PUT" and not sent.is_set():
            sent.set()
            process.send_signal(2)

    server.faults.append(interrupt)
    assert b"KeyboardInterrupt" in process.communicate()[1]
    assert sent.is_set()
    assert server.objects[path.key] in (old, b"new" * 10_000_000)
    assert lake_contents(tmp_path) == {}
