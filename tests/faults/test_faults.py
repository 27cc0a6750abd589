"""Faults that no other test provokes; docs/faults.md lists all of them with their tests."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import resource
import shutil
import ssl
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from ingest.builds import reason_to_build
from ingest.cli import main
from ingest.config import Config
from ingest.datasets import VISION
from ingest.errors import PerpError, Quarantine, UsageError
from ingest.lake import Lake, LandingLog
from ingest.names import decode_symbol, encode_symbol
from ingest.progress import Progress
from ingest.sandbox import server as faults
from ingest.sandbox.server import ArchiveServer
from ingest.sources.downloads import Failed, Retry
from ingest.sources.vision import VisionArchive
from ingest.store import move_file
from ingest.warehouse import check_unlocked
from ingest.zips import open_member
from tests.ingest.conftest import Archive, archive, key
from tests.ingest.test_decode import bar, read, zipped
from tests.ingest.test_lake import some_record
from tests.mirror import put_zip

__all__ = ["archive"]

BTC = key("BTCUSDT", "2024-01")
QUICK = Retry(attempts=2, base_seconds=0.01)


# ---------------------------------------------------------------------------------------- TLS
@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate for 127.0.0.1, signed by itself."""
    if not (openssl := shutil.which("openssl")):
        pytest.skip("no openssl program here to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = [
        openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", path, "-out", path.with_suffix(".crt"),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    with path.open("ab") as both:
        both.write(path.with_suffix(".crt").read_bytes())
    return path


@pytest.fixture
def encrypted(tmp_path: Path, certificate: Path) -> Iterator[ArchiveServer]:
    """The archive of one file over TLS."""
    put_zip(tmp_path / "archive", BTC, os.urandom(50_000))
    server = ArchiveServer(tmp_path / "archive")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server._http.socket = context.wrap_socket(server._http.socket, server_side=True)
    with server:
        yield server


async def download(server: ArchiveServer, folder: Path) -> bytes:
    url = server.archive_url.replace("http:", "https:")
    async with VisionArchive(url, f"{url}/listing", retry=QUICK) as client:
        prefix = BTC.rpartition("/")[0] + "/"
        (file,) = await client.files(prefix, "BTCUSDT-1h-", "2024-01")
        return (await client.download(file, folder)).path.read_bytes()


def test_tls_that_breaks_in_mid_transfer_is_resumed(
    encrypted: ArchiveServer, certificate: Path, tmp_path: Path, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    encrypted.faults[BTC] = [faults.reset(20_000)]
    got = asyncio.run(download(encrypted, tmp_path / "got"))
    assert got == (encrypted.root / BTC).read_bytes()
    assert [r.range for r in encrypted.requests if r.path == BTC] == [None, "bytes=20000-"]


def test_a_certificate_that_nobody_vouches_for_is_refused(
    encrypted: ArchiveServer, tmp_path: Path, monkeypatch
):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(Failed, match=r"(?i)certificate verify failed"):
        asyncio.run(download(encrypted, tmp_path / "got"))
    assert encrypted.requests == []


# ------------------------------------------------------------------------------- the warehouse
@contextlib.contextmanager
def opened_elsewhere(warehouse: Path, *, read_only: bool) -> Iterator[int]:
    """Another process has the warehouse open; yields its number."""
    code = f"""
import duckdb, time
connection = duckdb.connect({str(warehouse)!r}, read_only={read_only})
print("ready", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


READERS = {
    "publish": ["publish"],
    "export": ["export", "parquet", "--to", "exported"],
    "report": ["report", "--to", "report.html"],
}


def said_by(arguments: list[str], monkeypatch, capfd) -> tuple[object, str]:
    """Exit code of a command, and the last line that it writes."""
    monkeypatch.setattr(sys, "argv", ["perp", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capfd.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return end.value.code, err.splitlines()[-1]


def words(warehouse: Path, pid: int) -> str:
    """What every command says of a warehouse that a process has open."""
    return (
        rf"perp: the warehouse {re.escape(str(warehouse))} is open in another process, \S+ "
        rf"\(PID {pid}\); wait for it or end it, then run the same command again \(.+\)"
    )


@pytest.mark.parametrize("read_only", [True, False])
def test_a_warehouse_that_is_open_elsewhere_is_said_in_one_line(
    tmp_path: Path, monkeypatch, capfd, read_only
):
    warehouse = tmp_path / "w.duckdb"
    duckdb.connect(str(warehouse)).close()
    monkeypatch.setenv("PERP_LAKE", str(tmp_path / "lake"))
    with opened_elsewhere(warehouse, read_only=read_only) as pid:
        code, said = said_by(["build", "--warehouse", str(warehouse)], monkeypatch, capfd)
    assert code == 1
    assert re.fullmatch(words(warehouse, pid), said)
    check_unlocked(warehouse)


@pytest.mark.parametrize("command", READERS)
def test_every_command_says_it_with_the_same_words(tmp_path: Path, monkeypatch, capfd, command):
    warehouse = tmp_path / "w.duckdb"
    duckdb.connect(str(warehouse)).close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERP_LAKE", str(tmp_path / "lake"))
    asked = [*READERS[command], "--warehouse", str(warehouse)]
    with opened_elsewhere(warehouse, read_only=False) as pid:
        code, said = said_by(asked, monkeypatch, capfd)
    assert code == 1
    assert re.fullmatch(words(warehouse, pid), said)


@pytest.mark.parametrize("command", ["build", *READERS])
def test_a_damaged_warehouse_with_lock_in_its_name_is_not_taken_for_a_locked_one(
    tmp_path: Path, monkeypatch, capfd, command
):
    warehouse = tmp_path / "lock" / "clock.duckdb"
    warehouse.parent.mkdir()
    warehouse.write_bytes(b"rubbish" * 1000)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERP_LAKE", str(tmp_path / "lake"))
    asked = [*READERS.get(command, [command]), "--warehouse", str(warehouse)]
    code, said = said_by(asked, monkeypatch, capfd)
    assert code == 1
    assert said.startswith(f"perp: cannot open the warehouse {warehouse}: ")
    assert "not a valid DuckDB database file" in said


def test_an_update_says_it_with_the_same_words(tmp_path: Path):
    config = Config(tmp_path / "lake", tmp_path / "w.duckdb", "http://a", "http://l")
    duckdb.connect(str(config.warehouse)).close()
    with (
        opened_elsewhere(config.warehouse, read_only=False) as pid,
        pytest.raises(PerpError, match=words(config.warehouse, pid).removeprefix("perp: ")) as said,
    ):
        reason_to_build(config)
    assert not isinstance(said.value, UsageError)
    config.warehouse.write_bytes(b"rubbish" * 1000)
    with pytest.raises(PerpError, match=r"cannot open the warehouse .*not a valid DuckDB"):
        reason_to_build(config)


# ---------------------------------------------------------------------------------- the clock
def test_a_clock_that_is_set_back_changes_no_order_and_no_rate(tmp_path: Path, monkeypatch):
    lake = Lake(tmp_path / "lake")
    lake.prepare("sandbox")
    start = datetime(2024, 1, 1, tzinfo=UTC)

    class Clock(datetime):
        times = iter([start, start - timedelta(days=400)])

        @classmethod
        def now(cls, tz=None):
            return next(cls.times)

    monkeypatch.setattr("ingest.lake.datetime", Clock)
    monkeypatch.setattr("time.time", itertools.count(1_700_000_000, -3600).__next__)
    with Progress("ingest", 2, "partitions") as progress:
        with contextlib.closing(LandingLog(lake.log_folder, "vision")) as log:
            for status in ("failed", "landed"):
                log.append(some_record(status=status))
                progress.finish_one()
        assert 0 <= progress.seconds < 60
        assert "ETA" not in progress.line()
    (record,) = lake.state("vision").values()
    assert (record.status, record.landed_at[:4]) == ("landed", "2022")


# ----------------------------------------------------------------------------------- the disk
@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than the lake's."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


def test_a_quarantine_on_another_disk_gets_its_files(archive: Archive, other_disk: Path):
    """os.replace does not reach over file systems (EXDEV)."""
    lake = archive.lake
    lake.prepare("sandbox")
    lake.quarantine.rmdir()
    lake.quarantine.symlink_to(other_disk)
    (archive.root / f"{BTC}.CHECKSUM").write_text("0" * 64 + "  x.zip")
    summary = archive.ingest(symbols=["BTCUSDT"])
    assert summary.files == {"quarantined": 1}
    assert (other_disk / BTC).read_bytes() == (archive.root / BTC).read_bytes()
    assert list(lake.tmp.rglob("*.zip")) == []
    assert list(other_disk.rglob("*.tmp")) == []


def test_a_move_to_a_full_disk_loses_nothing(other_disk: Path, tmp_path: Path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "a").write_bytes(b"something")
    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(OSError, match="No space"):
        move_file(tmp_path / "a", other_disk / "b")
    assert (tmp_path / "a").read_bytes() == b"something"
    assert not (other_disk / "b").exists()


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder that its user may only read; whoever runs the tests is that user meanwhile."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "lake").mkdir()
        (folder / "lake").chmod(0o555)
        folder.chmod(0o755)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield folder / "lake"
        finally:
            if root:
                os.seteuid(0)
            (folder / "lake").chmod(0o755)


def test_a_folder_that_may_only_be_read_is_refused(nobody: Path):
    config = Config(nobody, nobody / "w.duckdb", "http://127.0.0.1:9", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match=r"cannot write the lake .*Permission denied; set PERP_LA"):
        Lake(config.lake).prepare("sandbox")


def test_a_record_that_a_full_disk_took_half_of_is_taken_back(tmp_path: Path):
    """A disk that is almost full takes the first bytes of a line without an error."""
    lake = Lake(tmp_path / "lake")
    lake.prepare("sandbox")
    log = LandingLog(lake.log_folder, "vision")
    log.append(some_record())
    whole = log.path.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 100, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            log.append(some_record("2024-02"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert log.path.read_bytes() == whole
    log.append(some_record("2024-03"))
    log.close()
    assert [(r.month, r.log_seq[-2:]) for r in lake.history("vision")] == [
        ("2024-01", "01"),
        ("2024-03", "02"),
    ]


# ---------------------------------------------------------------------------- names and zips
def test_dots_in_disguise_are_no_path(archive: Archive, tmp_path: Path):
    folder = BTC.rpartition("/")[0]
    for name in ("%2e%2e%2fBTCUSDT-1h-2024-02.zip", "..%2fBTCUSDT-1h-2024-03.zip"):
        put_zip(archive.root, f"{folder}/{name}", b"")
    archive.server.refresh()

    async def listed() -> list[str]:
        url = archive.server.archive_url
        async with VisionArchive(url, archive.server.listing_url) as client:
            return [f.key for f in await client.files(f"{folder}/", "BTCUSDT-1h-", "2024-01")]

    assert asyncio.run(listed()) == [BTC]
    for symbol in ("%2e%2e%2fX", "../X", "..", "/etc"):
        component = encode_symbol(symbol)
        assert "/" not in component
        assert decode_symbol(component) == symbol
        path = archive.lake.partition(VISION["klines_1h"], symbol, "2024-01")
        assert path.resolve().is_relative_to(archive.lake.root.resolve())


def test_a_member_with_dots_in_disguise_is_read_and_nothing_is_written(tmp_path: Path):
    path = zipped(tmp_path, bar(0), "%2e%2e%2fBTCUSDT.csv")
    before = sorted(p for p in tmp_path.rglob("*"))
    assert read(path)[0].num_rows == 1
    assert sorted(p for p in tmp_path.rglob("*")) == before


def test_the_name_of_the_member_proves_nothing(tmp_path: Path):
    """Checksum, columns and period decide; another month is refused whatever its name says."""
    assert read(zipped(tmp_path, bar(0), "something.csv"))[0].num_rows == 1
    with pytest.raises(Quarantine, match="no row lies in 2024-01"):
        read(zipped(tmp_path, bar(60 * 24 * 40), "BTCUSDT-1m-2024-01.csv"))


def test_zip64_is_read(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    path = zipped(tmp_path, "\n".join(bar(m) for m in range(500)))
    assert b"PK\x06\x06" in path.read_bytes(), "the end record of zip64"
    assert read(path)[0].num_rows == 500


def test_a_size_that_the_directory_understates_is_found(tmp_path: Path):
    path = zipped(tmp_path, "\n".join(bar(m) for m in range(500)))
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02") + 24
    (size,) = struct.unpack_from("<I", content, at)
    struct.pack_into("<I", content, at, size // 2)
    path.write_bytes(content)
    with pytest.raises(Quarantine, match="damaged zip"):
        read(path)


@pytest.mark.parametrize(
    "body",
    [
        b'<?xml version="1.0"?><Error><Code>SlowDown</Code></Error>',
        b"<!DOCTYPE html><html>Sorry</html>",
        b'{"code": -1003}',
    ],
)
def test_an_error_that_is_sent_as_a_file_is_no_zip(tmp_path: Path, body):
    (tmp_path / "file.zip").write_bytes(body)
    with pytest.raises(Quarantine, match="not a zip file: it begins with"):
        open_member(tmp_path / "file.zip", 1 << 20)


def test_nul_bytes_far_behind_the_header_are_refused(tmp_path: Path):
    lines = [bar(m) for m in range(2000)]
    with pytest.raises(Quarantine):
        read(zipped(tmp_path, "\n".join([*lines, bar(2000).replace(",11,", ",1\0001,")])))


def test_rows_of_the_next_month_are_left_out_of_this_one(tmp_path: Path):
    """Months overlap by a row: each row lands once, in the month that it is of."""
    table, record = read(zipped(tmp_path, f"{bar(31 * 1440 - 1)}\n{bar(31 * 1440)}"))
    assert table.num_rows == 1
    assert record.out_of_period_dropped == 1
