"""The lake: Parquet layout, atomic commit, claims, and the append-only landing log.

A partition is done when the log says so and its file has the size and footer that the log recorded;
never because a file merely exists. Readers see whole files only: everything is written beside its
final name and renamed after it has been read back and synced.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.datasets import SOURCES, Dataset
from ingest.errors import PerpError, UsageError
from ingest.names import decode_symbol, encode_symbol

PARSER_VERSION = 1  # raise it when parsing changes: partitions of older versions are landed again
SCHEMA_PARTITION = "_schema"
ROW_GROUP_ROWS = 1_000_000

Key = tuple[str, str, str]  # dataset, symbol, month
Status = Literal["landed", "absent_upstream", "quarantined", "failed"]


@dataclass
class FileRecord:
    """What one upstream file was and what became of it."""

    url: str
    period: str  # YYYY-MM or YYYY-MM-DD
    outcome: Status
    etag: str | None = None
    checksum_etag: str | None = None
    last_modified: str | None = None
    bytes: int | None = None
    sha256_expected: str | None = None
    sha256_actual: str | None = None
    header_present: bool | None = None
    epoch_unit: str | None = None
    rows_in: int | None = None
    rows_out: int | None = None
    duplicates_dropped: int = 0
    conflicts_dropped: int = 0
    out_of_period_dropped: int = 0
    out_of_order: int = 0
    bad_rows: int = 0  # kept and counted, but part of no sum
    missing_ids: int = 0
    first_time: str | None = None
    last_time: str | None = None
    attempts: int = 0
    error: str | None = None
    carried: bool = False  # taken over from the previous landing of this partition, not read again


@dataclass
class LandingRecord:
    """One line of the landing log: one attempt at one partition, with every file behind it."""

    source: str
    dataset: str
    symbol: str
    month: str
    status: Status
    first_day: str = ""  # days asked for so far, both included: outside them nothing was looked for
    last_day: str = ""
    files: list[FileRecord] = field(default_factory=list)
    rows_in: int = 0
    rows_out: int = 0
    duplicates_dropped: int = 0
    conflicts_dropped: int = 0
    out_of_period_dropped: int = 0
    overlap_dropped: int = 0
    overlap_conflicts: int = 0
    out_of_order: int = 0
    bad_rows: int = 0
    missing_ids: int = 0
    first_time: str | None = None
    last_time: str | None = None
    gaps: int | None = None  # missing rows between the first and the last, where a grain is known
    deficient_days: list[str] = field(default_factory=list)  # days short in the monthly file
    uncovered_days: list[str] = field(default_factory=list)  # days of ticks that no file holds
    made_from: str | None = None  # versions of the files, where another record lists them
    covered: list[tuple[str, str]] = field(default_factory=list)  # spans [from, to) known whole
    parquet_bytes: int | None = None
    parquet_sha256: str | None = None
    parser_version: int = PARSER_VERSION
    error: str | None = None
    landed_at: str = ""
    log_seq: str = ""

    @property
    def key(self) -> Key:
        """(dataset, symbol, month)."""
        return self.dataset, self.symbol, self.month

    @property
    def spec(self) -> Dataset:
        """The registry's entry of its dataset; PerpError if this version does not know it."""
        try:
            return SOURCES[self.source][self.dataset]
        except KeyError:
            raise PerpError(
                f"the landing log of {self.source} names the dataset {self.dataset} "
                f"({self.symbol} {self.month}), which this version of perp does not know; "
                "use the version that landed it, or a newer one"
            ) from None

    @property
    def versions(self) -> str:
        """Digest of which files, and which versions of them, the partition is made of."""
        landed = sorted((f.period, f.etag or "") for f in self.files if f.outcome == "landed")
        return hashlib.sha256(json.dumps(landed).encode()).hexdigest()

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> LandingRecord:
        """Inverse of ``asdict``; unknown keys of newer versions are ignored."""
        known = {k: v for k, v in row.items() if k in cls.__dataclass_fields__}
        files = [
            FileRecord(**{k: v for k, v in f.items() if k in FileRecord.__dataclass_fields__})
            for f in known.pop("files", [])
        ]
        return cls(files=files, **known)


class LandingLog:
    """One writer's log file; every record is one ``write`` followed by fsync.

    Records are ordered by (number of the file, line). A writer that follows up on a record of a
    younger file, because another process has worked on the same partition, goes on in a new file.
    """

    def __init__(self, folder: Path, source: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._source = folder, source
        self._open()

    def _open(self) -> None:
        while True:
            last = max((int(p.name[:8]) for p in self._folder.glob("*.jsonl")), default=0)
            path = self._folder / f"{last + 1:08d}-{self._source}.jsonl"
            try:
                self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
                break
            except FileExistsError:  # another writer took the number
                continue
        fsync_folder(self._folder)
        self.path = path
        self._lines = 0

    def append(self, record: LandingRecord, after: str = "") -> None:
        """Write one record; returns when it is on disk.

        Args:
            record: gets its ``log_seq`` and ``landed_at``.
            after: ``log_seq`` of the newest record of the same partition.
        """
        if after[:8] > self.path.name[:8]:
            self.close()
            self._open()
        self._lines += 1
        record.log_seq = f"{self.path.name[:8]}.{self._lines:08d}"
        record.landed_at = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
        line = json.dumps(asdict(record), ensure_ascii=False, separators=(",", ":")) + "\n"
        data, whole = line.encode(), os.fstat(self._fd).st_size
        try:
            while data:  # a disk that is almost full takes a part without an error
                data = data[os.write(self._fd, data) :]
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, whole)
            self._lines -= 1
            raise

    def close(self) -> None:
        """Close the file, and remove it if nothing was written."""
        os.close(self._fd)
        if not self._lines:
            self.path.unlink()


class LandingState:
    """The newest record of every partition of a source, kept up to date with what is appended."""

    def __init__(self, folder: Path, source: str) -> None:
        self._folder, self._source = folder, source
        self._read_to: dict[Path, int] = {}
        self.records: dict[Key, LandingRecord] = {}

    def refresh(self) -> dict[Key, LandingRecord]:
        """Take note of what has been appended since."""
        for record in self.new_records():
            held = self.records.get(record.key)
            if held is None or held.log_seq <= record.log_seq:
                self.records[record.key] = record
        return self.records

    def new_records(self) -> Iterator[LandingRecord]:
        """Records appended since the last look, oldest first; a torn last line is not a record."""
        for path in sorted(self._folder.glob(f"*-{self._source}.jsonl")):
            read_to = self._read_to.get(path, 0)
            if path.stat().st_size == read_to:
                continue
            with path.open("rb") as handle:
                handle.seek(read_to)
                for line in handle:
                    if not line.endswith(b"\n"):
                        break
                    record = _read_line(line, path, read_to)
                    read_to += len(line)
                    yield record
            self._read_to[path] = read_to


def _read_line(line: bytes, path: Path, at: int) -> LandingRecord:
    try:
        return LandingRecord.from_json(json.loads(line))
    except (ValueError, TypeError, AttributeError) as error:
        raise PerpError(
            f"{path} is damaged: the line at byte {at:,} is no landing record ({error}); restore "
            "the file from a backup, or delete that line: what it told of is then landed again"
        ) from error


class Claims:
    """Who works on which partition, among the processes that share a lake.

    A claim is a lock on one byte of a file, at an offset that the partition's name hashes to. The
    kernel frees it when its process ends, however it ends, so a claim never outlives its worker.
    """

    def __init__(self, path: Path) -> None:
        self._handle = path.open("a+")

    def take(self, key: Key) -> bool:
        """Claim a partition; False if another process has it."""
        try:
            fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, claim_offset(key))
        except (BlockingIOError, PermissionError):
            return False
        return True

    def release(self, key: Key) -> None:
        """Give a claim back."""
        fcntl.lockf(self._handle, fcntl.LOCK_UN, 1, claim_offset(key))

    def close(self) -> None:
        """Give everything back."""
        self._handle.close()


def claim_offset(key: Key) -> int:
    """Where in the file of claims a partition is claimed."""
    return int.from_bytes(hashlib.sha256("/".join(key).encode()).digest()[:6])


class Lake:
    """A folder of Parquet partitions and its landing log."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log_folder = root / "_log"
        self.tmp = root / "_tmp"
        self.quarantine = root / "_quarantine"
        self.raw = root / "_raw"

    def prepare(self, origin: str | None) -> None:
        """Create what every lake has: folders, origin, one zero-row file per dataset.

        Args:
            origin: where the data to land comes from; None for local files, which do not say.

        Raises UsageError if the lake cannot be written or holds data of another origin.
        """
        try:
            for folder in (self.root, self.log_folder, self.tmp, self.quarantine):
                folder.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as held_locks:
                for source in SOURCES:
                    handle = held_locks.enter_context(self._lock_file(source).open("a+"))
                    fcntl.flock(handle, fcntl.LOCK_SH)  # nobody cleans up meanwhile
                for dataset in (d for datasets in SOURCES.values() for d in datasets.values()):
                    path = self.partition(dataset, SCHEMA_PARTITION, SCHEMA_PARTITION)
                    if not path.exists() or pq.read_schema(path) != dataset.schema:
                        write_parquet(path, dataset.schema.empty_table(), dataset)
                held = self._origin(origin)
        except OSError as error:
            raise UsageError(
                f"cannot write the lake {self.root}: {error.strerror}; set PERP_LAKE to a folder "
                "that you can write"
            ) from error
        if origin and held != origin:
            raise UsageError(
                f"the lake {self.root} holds {held} data and this run would land {origin} data; "
                "set PERP_LAKE to another folder, or remove this one"
            )

    def _origin(self, origin: str | None) -> str | None:
        path = self.root / "_lake.json"
        if not path.exists():
            if origin is None:
                return None
            write_atomic(path, json.dumps({"origin": origin}).encode())
        return str(json.loads(path.read_text())["origin"])

    @contextmanager
    def shared(self, source: str) -> Iterator[Claims]:
        """Work on a source beside other processes; one that is alone cleans up first."""
        with self._lock_file(source).open("a+") as handle:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._clean(source)
            fcntl.flock(handle, fcntl.LOCK_SH)
            with contextlib.closing(Claims(self.log_folder / f"{source}.claims")) as claims:
                yield claims

    def _lock_file(self, source: str) -> Path:
        return self.log_folder / f"{source}.lock"

    def _clean(self, source: str) -> None:
        """Remove what killed writers left behind, but for what the next run can use."""
        for path in (self.root / source).glob("*/symbol=*/month=*/*.tmp"):
            path.unlink(missing_ok=True)
        for path in (self.tmp / source).rglob("*.tmp"):
            path.unlink(missing_ok=True)
        for path in self.log_folder.glob(f"*-{source}.jsonl"):
            _drop_torn_line(path)

    def partition(self, dataset: Dataset, symbol: str, month: str) -> Path:
        """Path of a partition's file."""
        folder = self.root / dataset.source / dataset.name / f"symbol={encode_symbol(symbol)}"
        return folder / f"month={month}" / "data.parquet"

    def downloads(self, source: str, key: Key) -> Path:
        """Folder where the files of a partition wait until it is written."""
        dataset, symbol, month = key
        return self.tmp / source / dataset / encode_symbol(symbol) / month

    def partition_of(self, record: LandingRecord) -> Path:
        """Path of the file that a record tells of."""
        return self.partition(record.spec, record.symbol, record.month)

    def partitions(self, dataset: Dataset) -> Iterator[tuple[str, str, Path]]:
        """(symbol, month, path) of every partition file of a dataset."""
        base = self.root / dataset.source / dataset.name
        for path in sorted(base.glob("symbol=*/month=*/data.parquet")):
            symbol = decode_symbol(path.parts[-3].removeprefix("symbol="))
            if symbol != SCHEMA_PARTITION:
                yield symbol, path.parts[-2].removeprefix("month="), path

    def is_intact(self, record: LandingRecord) -> bool:
        """True if the partition's file has the size that the log recorded and a Parquet footer."""
        path = self.partition_of(record)
        try:
            with path.open("rb") as handle:
                size = handle.seek(0, os.SEEK_END)
                handle.seek(max(size - 4, 0))
                return size == record.parquet_bytes and handle.read() == b"PAR1"
        except OSError:
            return False

    def state(self, source: str) -> dict[Key, LandingRecord]:
        """The newest record of every partition of a source."""
        return LandingState(self.log_folder, source).refresh()

    def history(self, source: str) -> Iterator[LandingRecord]:
        """Every record of a source, oldest first."""
        return LandingState(self.log_folder, source).new_records()


def write_parquet(path: Path, table: pa.Table, dataset: Dataset) -> tuple[int, str]:
    """Write a table so that ``path`` holds either its old content or all of the new one.

    Returns:
        File size in bytes and sha256 of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = temporary(path)
    pq.write_table(table, tmp, row_group_size=ROW_GROUP_ROWS, **parquet_options(dataset))
    return commit_parquet(tmp, path, table.num_rows)


def temporary(path: Path) -> Path:
    """A name beside ``path`` to write under, of this process alone."""
    return path.with_name(f"{path.name}.{os.getpid()}.tmp")


def commit_parquet(tmp: Path, path: Path, n_rows: int) -> tuple[int, str]:
    """Put a finished Parquet file in its place, after a look at what was written.

    Returns:
        File size in bytes and sha256 of the file.
    """
    rows = pq.read_metadata(tmp).num_rows
    if rows != n_rows:
        raise PerpError(f"{tmp}: wrote {n_rows} rows but the footer says {rows}")
    with tmp.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        size = handle.tell()
        os.fsync(handle.fileno())
    os.replace(tmp, path)
    fsync_folder(path.parent)
    return size, digest


def parquet_options(dataset: Dataset) -> dict[str, Any]:
    """How a dataset's files are encoded: integers and times as packed deltas, the rest by value."""
    packed = {
        f.name: "DELTA_BINARY_PACKED"
        for f in dataset.schema
        if pa.types.is_timestamp(f.type) or pa.types.is_integer(f.type)
    }
    return {
        "compression": "zstd",
        "use_dictionary": [name for name in dataset.schema.names if name not in packed],
        "column_encoding": packed,
    }


def write_atomic(path: Path, content: bytes) -> None:
    """Write a small file whole or not at all."""
    tmp = temporary(path)
    with tmp.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(tmp, path)
    fsync_folder(path.parent)


def move_file(path: Path, target: Path) -> None:
    """Move a file, also to another disk: ``target`` is there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        tmp = temporary(target)
        shutil.copyfile(path, tmp)
        with tmp.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(tmp, target)
        path.unlink()
    fsync_folder(target.parent)


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _drop_torn_line(path: Path) -> None:
    """Cut a last line that its writer did not finish: the work it stood for is done again."""
    with path.open("rb+") as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(size - (1 << 20), 0))
        tail = handle.read()
        torn = len(tail) - (tail.rfind(b"\n") + 1)
        if torn:
            handle.truncate(size - torn)
            os.fsync(handle.fileno())
