"""The lake: Parquet layout, atomic commit, claims, and the append-only landing log.

A partition is done when the log says so and its file has the size and footer that the log recorded;
never because a file merely exists. Readers see whole files only: everything is written on this
machine, read back and synced, and only then put in its place (``ingest/store.py``).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.datasets import SOURCES, Dataset
from ingest.errors import PerpError, UsageError
from ingest.names import decode_symbol, encode_symbol
from ingest.store import LogFile, local_side, store_of, temporary

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
    """One writer's log; a record is stored when ``append`` returns.

    Records are ordered by (number of the file, line). A writer that follows up on a record that
    would come behind its own, because another process has worked on the same partition, goes on in
    a new file.
    """

    def __init__(self, folder: PurePath, source: str) -> None:
        self._folder, self._source = folder, source
        self._open()

    def _open(self) -> None:
        self._file: LogFile = store_of(self._folder).log_file(self._folder, self._source)
        self._lines = 0

    @property
    def path(self) -> PurePath:
        """The file that is written to now."""
        return self._file.path

    def append(self, record: LandingRecord, after: str = "") -> None:
        """Write one record; returns when it is stored.

        Args:
            record: gets its ``log_seq`` and ``landed_at``.
            after: ``log_seq`` of the newest record of the same partition.
        """
        if self._file.is_full or after >= self._next_seq():
            self.close()
            self._open()
        record.log_seq = self._next_seq()
        record.landed_at = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
        line = json.dumps(asdict(record), ensure_ascii=False, separators=(",", ":")) + "\n"
        self._file.append(line.encode())
        self._lines += 1

    def _next_seq(self) -> str:
        return f"{self.path.name[:8]}.{self._lines + 1:08d}"

    def close(self) -> None:
        """Close the file, and remove it if nothing was written."""
        self._file.close()


class LandingState:
    """The newest record of every partition of a source, kept up to date with what is appended."""

    def __init__(self, folder: PurePath, source: str) -> None:
        self._folder, self._source = folder, source
        self._read_to: dict[PurePath, int] = {}
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
        store = store_of(self._folder)
        sizes = store.sizes(self._folder, f"*-{self._source}.jsonl")
        read = {path: self._read_to.get(path, 0) for path in sorted(sizes)}
        grown = [(path, read_to) for path, read_to in read.items() if sizes[path] != read_to]
        for (path, read_to), handle in zip(grown, store.open_each(grown), strict=True):
            for line in handle:
                if not line.endswith(b"\n"):
                    break
                record = _read_line(line, path, read_to)
                read_to += len(line)
                yield record
            self._read_to[path] = read_to


def _read_line(line: bytes, path: PurePath, at: int) -> LandingRecord:
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
    """Parquet partitions and their landing log, in a folder or in a bucket.

    Attributes:
        root: folder, or address, of what has landed.
        store: how that is read and written.
        local: folder of what is on this machine in any case: downloads, files being written, locks.
            That of a lake in a folder is the lake.
    """

    def __init__(self, root: PurePath) -> None:
        self.root = root
        self.store = store_of(root)
        self.log_folder = root / "_log"
        self.quarantine = root / "_quarantine"
        self.raw = root / "_raw"
        self._origin_file = root / "_lake.json"
        self.local = local_side(root)
        self.locks = self.local / "_log"
        self.tmp = self.local / "_tmp"

    def __reduce__(self) -> tuple[type[Lake], tuple[PurePath]]:
        return Lake, (self.root,)  # another process opens its own store

    def prepare(self, origin: str | None) -> None:
        """Create what every lake has: folders, origin, one zero-row file per dataset.

        Args:
            origin: where the data to land comes from; None for local files, which do not say.

        Raises UsageError if the lake cannot be written or holds data of another origin.
        """
        try:
            for folder in (self.local, self.locks, self.tmp, local_side(self.quarantine)):
                folder.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as held_locks:
                for source in SOURCES:
                    handle = held_locks.enter_context(self._lock_file(source).open("a+"))
                    fcntl.flock(handle, fcntl.LOCK_SH)  # nobody cleans up meanwhile
                for dataset, path, schema in self.schemas():
                    if schema != dataset.schema:
                        write_parquet(path, dataset.schema.empty_table(), dataset)
                held = self._origin(origin)
        except OSError as error:
            raise UsageError(
                f"cannot write the lake {self.root}: {error.strerror}; set "
                f"{self.store.setting} to a folder that you can write"
            ) from error
        if origin and held != origin:
            raise UsageError(
                f"the lake {self.root} holds {held} data and this run would land {origin} data; "
                "set PERP_LAKE to another folder, or remove this one"
            )

    def schemas(self) -> Iterator[tuple[Dataset, PurePath, pa.Schema | None]]:
        """Zero-row files that give readers a dataset's columns where it has no data.

        With the columns that each has, None for one that is missing or cannot be read.
        """
        every = [d for datasets in SOURCES.values() for d in datasets.values()]
        paths = [self.partition(d, SCHEMA_PARTITION, SCHEMA_PARTITION) for d in every]
        return zip(every, paths, self.store.schemas(paths), strict=True)

    def _origin(self, origin: str | None) -> str | None:
        path = self._origin_file
        if not self.store.exists(path):
            if origin is None:
                return None
            self.store.write(path, json.dumps({"origin": origin}).encode())
        with self.store.open(path) as handle:
            return str(json.load(handle)["origin"])

    @contextmanager
    def shared(self, source: str) -> Iterator[Claims]:
        """Work on a source beside other processes; one that is alone cleans up first."""
        with self._lock_file(source).open("a+") as handle:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._clean(source)
            fcntl.flock(handle, fcntl.LOCK_SH)
            with contextlib.closing(Claims(self.locks / f"{source}.claims")) as claims:
                yield claims

    def _lock_file(self, source: str) -> Path:
        self.locks.mkdir(parents=True, exist_ok=True)
        return self.locks / f"{source}.lock"

    def _clean(self, source: str) -> None:
        """Remove what killed writers left behind, but for what the next run can use."""
        for path in (self.local / source).glob("*/symbol=*/month=*/*.tmp"):
            path.unlink(missing_ok=True)
        for path in (self.tmp / source).rglob("*.tmp"):
            path.unlink(missing_ok=True)
        self.store.drop_torn_lines(self.log_folder, f"*-{source}.jsonl")

    @property
    def exists(self) -> bool:
        """Whether there is a lake, be it an empty one."""
        return self.store.is_folder(self.log_folder) or self.store.exists(self._origin_file)

    def folder(self, dataset: Dataset) -> PurePath:
        """Folder of a dataset's partitions."""
        return self.root / dataset.source / dataset.name

    def partition(self, dataset: Dataset, symbol: str, month: str) -> PurePath:
        """Path of a partition's file."""
        folder = self.folder(dataset) / f"symbol={encode_symbol(symbol)}"
        return folder / f"month={month}" / "data.parquet"

    def downloads(self, source: str, key: Key) -> Path:
        """Folder where the files of a partition wait until it is written."""
        dataset, symbol, month = key
        return self.tmp / source / dataset / encode_symbol(symbol) / month

    def partition_of(self, record: LandingRecord) -> PurePath:
        """Path of the file that a record tells of."""
        return self.partition(record.spec, record.symbol, record.month)

    def partitions(self, dataset: Dataset) -> Iterator[tuple[str, str, PurePath]]:
        """(symbol, month, path) of every partition file of a dataset."""
        found = self.store.find(self.folder(dataset), "symbol=*/month=*/data.parquet")
        for path in sorted(found):
            symbol = decode_symbol(path.parts[-3].removeprefix("symbol="))
            if symbol != SCHEMA_PARTITION:
                yield symbol, path.parts[-2].removeprefix("month="), path

    def is_intact(self, record: LandingRecord) -> bool:
        """True if the partition's file has the size that the log recorded and a Parquet footer."""
        if record.parquet_bytes is None:
            return False
        return self.store.is_whole(self.partition_of(record), record.parquet_bytes)

    def state(self, source: str) -> dict[Key, LandingRecord]:
        """The newest record of every partition of a source."""
        return LandingState(self.log_folder, source).refresh()

    def history(self, source: str) -> Iterator[LandingRecord]:
        """Every record of a source, oldest first."""
        return LandingState(self.log_folder, source).new_records()


def write_parquet(path: PurePath, table: pa.Table, dataset: Dataset) -> tuple[int, str]:
    """Write a table so that ``path`` holds either its old content or all of the new one.

    Returns:
        File size in bytes and sha256 of the file.
    """
    tmp = temporary(path)
    tmp.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, tmp, row_group_size=ROW_GROUP_ROWS, **parquet_options(dataset))
    return commit_parquet(tmp, path, table.num_rows)


def commit_parquet(tmp: Path, path: PurePath, n_rows: int) -> tuple[int, str]:
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
    store_of(path).put(tmp, path)
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
