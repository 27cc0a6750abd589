"""Where the files of a lake are: a folder, or a prefix of a bucket of an object store (``s3://``).

All that a lake asks of either is in ``Store``. Whatever is written appears whole or not at all: in
a folder by a rename of a file that has been synced, in a bucket because an object appears when its
upload has ended. What is not finished is always on this machine (see ``local_side``): downloads,
Parquet files being written, locks.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import re
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Generic, Protocol, TypeVar, cast
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from ingest.errors import PerpError, UsageError

P = TypeVar("P", bound=PurePath)

_ADDRESS = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[\w.=+-]+)*)/?", re.ASCII)
_PROJECT = Path(__file__).resolve().parents[1]
_SEGMENT_BYTES = 256 << 10  # of a log object: it is sent anew with every line
_BUFFER_BYTES = 8 << 20
_ATTEMPTS = 5  # of one request, with longer and longer waits
_REQUESTS = ThreadPoolExecutor(16, "s3")  # uploads go through it too: Ctrl-C cuts none short


class Unreachable(PerpError):
    """An object store that does not answer; it may do so later."""


class ObjectPath(PurePosixPath):
    """Address of an object, or of all that begin with it: ``s3://bucket/key``. It has no I/O."""

    def __str__(self) -> str:
        return f"s3://{self.key}"

    @property
    def key(self) -> str:
        """Bucket and key, as pyarrow names objects."""
        return super().__str__()

    @property
    def bucket(self) -> str:
        """The bucket alone."""
        return self.parts[0]

    def absolute(self) -> ObjectPath:
        """The address itself: there are no relative ones."""
        return self


def lake_path(text: str) -> Path | ObjectPath:
    """The folder or the address that a setting names; UsageError for an address of another kind."""
    if "://" not in text:
        return Path(text)
    match = _ADDRESS.fullmatch(text)
    if match is None or ".." in match[1].split("/"):
        raise UsageError(
            f"{text!r} is no address of a lake; use a folder, or s3://bucket/prefix with letters, "
            "digits and . _ = + - in the names"
        )
    return ObjectPath(match[1])


def local_side(path: PurePath) -> Path:
    """Where on this machine the unfinished things of a path are: of a local one, where it is.

    Those of an object are in ``PERP_SCRATCH`` [data/scratch], in folders named like its address.
    """
    if isinstance(path, ObjectPath):
        return Path(os.environ.get("PERP_SCRATCH") or _PROJECT / "data/scratch") / path.key
    return cast(Path, path)


def temporary(path: PurePath) -> Path:
    """A local name to write ``path`` under, of this process alone."""
    return local_side(path).with_name(f"{path.name}.{os.getpid()}.tmp")


def store_of(path: PurePath) -> Store[Any]:
    """The store that a path is of. Raises UsageError if its bucket cannot be used."""
    if isinstance(path, ObjectPath):
        return ObjectStore(path.bucket)
    return LocalStore()


class LogFile(Protocol):
    """A log that one writer adds lines to; readers of it see whole lines."""

    @property
    def path(self) -> PurePath:
        """Its name begins with eight digits that sort it behind those that were there before."""
        ...

    @property
    def is_full(self) -> bool:
        """Whether further lines are to go to a new one."""
        ...

    def append(self, line: bytes) -> None:
        """Add a line; returns when it is stored. After an error it does not count as written."""
        ...

    def close(self) -> None:
        """No more lines follow. Without any, nothing stays."""
        ...


class Store(ABC, Generic[P]):
    """What a lake asks of the place where its files are."""

    setting: str  # the variable that names the folder that must be writable here

    @abstractmethod
    def find(self, folder: P, pattern: str) -> Iterator[P]:
        """Files below a folder, by a glob of fixed depth; in no order."""

    @abstractmethod
    def sizes(self, folder: P, pattern: str = "") -> dict[P, int]:
        """Files and their bytes, by a glob of fixed depth, or all at any depth."""

    @abstractmethod
    def exists(self, path: P) -> bool:
        """Whether there is such a file."""

    @abstractmethod
    def is_folder(self, path: P) -> bool:
        """Whether there is a folder, or anything that would be in it."""

    @abstractmethod
    def is_whole(self, path: P, size: int) -> bool:
        """Whether a partition's file is there with that many bytes, and not cut off."""

    @abstractmethod
    def open(self, path: P) -> io.BufferedIOBase:
        """Open for reading. Raises FileNotFoundError."""

    @abstractmethod
    def open_each(self, places: Iterable[tuple[P, int]]) -> Iterator[io.BufferedIOBase]:
        """Open several files for reading, each from an offset on, in this order."""

    @abstractmethod
    def parquet(self, path: P) -> pq.ParquetFile:
        """Open a Parquet file. Raises FileNotFoundError or ArrowInvalid."""

    @abstractmethod
    def schemas(self, paths: Iterable[P]) -> Iterator[pa.Schema | None]:
        """Columns of Parquet files; None for one that is missing or cannot be read."""

    @abstractmethod
    def put(self, local: Path, path: P) -> None:
        """Move a finished local file, already synced, to its place, where it replaces what was."""

    @abstractmethod
    def write(self, path: P, content: bytes) -> None:
        """Write a small file whole or not at all."""

    @abstractmethod
    def move(self, path: P, target: P) -> None:
        """Move a file within the store."""

    @abstractmethod
    def delete(self, path: P) -> None:
        """Remove a file, or a folder that is no part of the data; nothing if there is none."""

    def _schema(self, path: P) -> pa.Schema | None:
        try:
            with self.parquet(path) as file:
                return file.schema_arrow
        except (OSError, pa.ArrowException):
            return None

    @abstractmethod
    def log_file(self, folder: P, source: str) -> LogFile:
        """Begin a log ``{number}-…{source}.jsonl`` that nobody else writes to."""

    @abstractmethod
    def drop_torn_lines(self, folder: P, pattern: str) -> None:
        """Mend logs whose writers were killed within a line; nobody must write to them."""


# ---------------------------------------------------------------------------------- a folder
class LocalStore(Store[Path]):
    """Files of this machine's disks."""

    setting = "PERP_LAKE"

    def find(self, folder: Path, pattern: str) -> Iterator[Path]:
        return folder.glob(pattern)

    def sizes(self, folder: Path, pattern: str = "") -> dict[Path, int]:
        if pattern:
            return {path: path.stat().st_size for path in folder.glob(pattern)}
        return {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}

    def exists(self, path: Path) -> bool:
        return path.exists()

    def is_folder(self, path: Path) -> bool:
        return path.is_dir()

    def is_whole(self, path: Path, size: int) -> bool:
        try:
            with path.open("rb") as handle:
                found = handle.seek(0, os.SEEK_END)
                handle.seek(max(found - 4, 0))
                return found == size and handle.read() == b"PAR1"
        except OSError:
            return False

    def open(self, path: Path) -> io.BufferedIOBase:
        return path.open("rb")

    def open_each(self, places: Iterable[tuple[Path, int]]) -> Iterator[io.BufferedIOBase]:
        for path, start in places:
            with path.open("rb") as handle:
                handle.seek(start)
                yield handle

    def parquet(self, path: Path) -> pq.ParquetFile:
        return pq.ParquetFile(path)

    def schemas(self, paths: Iterable[Path]) -> Iterator[pa.Schema | None]:
        return map(self._schema, paths)

    def put(self, local: Path, path: Path) -> None:
        move_file(local, path)

    def write(self, path: Path, content: bytes) -> None:
        write_atomic(path, content)

    def move(self, path: Path, target: Path) -> None:
        move_file(path, target)

    def delete(self, path: Path) -> None:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def log_file(self, folder: Path, source: str) -> LogFile:
        folder.mkdir(parents=True, exist_ok=True)
        return _AppendedFile(folder, source)

    def drop_torn_lines(self, folder: Path, pattern: str) -> None:
        for path in folder.glob(pattern):
            _drop_torn_line(path)


class _AppendedFile:
    """A file that grows: every line is one ``write`` followed by fsync."""

    is_full = False

    def __init__(self, folder: Path, source: str) -> None:
        while True:
            self.path = folder / f"{_next_number(folder.glob('*.jsonl'))}-{source}.jsonl"
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
                self._fd = os.open(self.path, flags, 0o644)
                break
            except FileExistsError:  # another writer took the number
                continue
        fsync_folder(folder)
        self._is_used = False

    def append(self, line: bytes) -> None:
        whole = os.fstat(self._fd).st_size
        try:
            while line:  # a disk that is almost full takes a part without an error
                line = line[os.write(self._fd, line) :]
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, whole)
            raise
        self._is_used = True

    def close(self) -> None:
        os.close(self._fd)
        if not self._is_used:
            self.path.unlink()


def _next_number(logs: Iterable[PurePath]) -> str:
    return f"{max((int(p.name[:8]) for p in logs), default=0) + 1:08d}"


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


# ---------------------------------------------------------------------------------- a bucket
class ObjectStore(Store[ObjectPath]):
    """Objects of a bucket.

    Credentials, region and endpoint are those of the usual variables: ``AWS_ACCESS_KEY_ID`` and
    ``AWS_SECRET_ACCESS_KEY``, ``AWS_PROFILE``, ``AWS_REGION``, ``AWS_ENDPOINT_URL``.
    """

    setting = "PERP_SCRATCH"

    def __init__(self, bucket: str) -> None:
        self._fs = _filesystem(bucket, endpoint())
        self._listed: dict[ObjectPath, dict[str, int]] = {}

    def find(self, folder: ObjectPath, pattern: str) -> Iterator[ObjectPath]:
        return iter(self.sizes(folder, pattern))

    def sizes(self, folder: ObjectPath, pattern: str = "") -> dict[ObjectPath, int]:
        wanted = pattern.split("/")
        found = {}
        for key, size in self._list(folder).items():
            names = key[len(folder.key) + 1 :].split("/")
            fits = len(names) == len(wanted) and all(map(fnmatchcase, names, wanted))
            if fits or not pattern:
                found[ObjectPath(key)] = size
        return found

    def _list(self, folder: ObjectPath) -> dict[str, int]:
        asked = fs.FileSelector(folder.key, allow_not_found=True, recursive=True)
        with _explained(folder):
            return {i.path: i.size for i in self._fs.get_file_info(asked) if i.is_file}

    def exists(self, path: ObjectPath) -> bool:
        return self._size(path) is not None

    def _size(self, path: ObjectPath) -> int | None:
        with _explained(path):
            return cast("int | None", self._fs.get_file_info(path.key).size)

    def is_folder(self, path: ObjectPath) -> bool:
        with _explained(path):
            return bool(self._fs.get_file_info(path.key).type == fs.FileType.Directory)

    def is_whole(self, path: ObjectPath, size: int) -> bool:
        """By a listing of the dataset, a request for a thousand files; what differs is looked at.

        An object is never cut off, so its size is enough.
        """
        dataset = path.parents[2]  # above symbol=… and month=…
        if dataset not in self._listed:
            self._listed[dataset] = self._list(dataset)
        return self._listed[dataset].get(path.key) == size or self._size(path) == size

    def open(self, path: ObjectPath) -> io.BufferedIOBase:
        with _explained(path):
            return io.BufferedReader(self._fs.open_input_file(path.key), _BUFFER_BYTES)

    def open_each(self, places: Iterable[tuple[ObjectPath, int]]) -> Iterator[io.BufferedIOBase]:
        return map(io.BytesIO, _REQUESTS.map(self._tail, places))

    def _tail(self, place: tuple[ObjectPath, int]) -> bytes:
        path, start = place
        with _explained(path), self._fs.open_input_file(path.key) as file:
            file.seek(start)
            return cast(bytes, file.read())

    def parquet(self, path: ObjectPath) -> pq.ParquetFile:
        with _explained(path):
            return pq.ParquetFile(self._fs.open_input_file(path.key), pre_buffer=True)

    def schemas(self, paths: Iterable[ObjectPath]) -> Iterator[pa.Schema | None]:
        return _REQUESTS.map(self._schema, paths)

    def put(self, local: Path, path: ObjectPath) -> None:
        if local.stat().st_size:
            with pa.memory_map(str(local)) as file:
                self._upload(path, file.read_buffer())
        else:
            self._upload(path, pa.py_buffer(b""))
        local.unlink()
        with contextlib.suppress(OSError):
            local.parent.rmdir()  # else every partition would leave an empty folder

    def write(self, path: ObjectPath, content: bytes) -> None:
        self._upload(path, pa.py_buffer(content))

    def _upload(self, path: ObjectPath, content: pa.Buffer) -> None:
        """Send an object. In a thread of its own: to close a stream is to finish the object, so an
        interrupt must not come between its parts; and what fails is left as it is, unfinished."""
        with _explained(path):
            _REQUESTS.submit(_send, self._fs, path.key, content).result()

    def move(self, path: ObjectPath, target: ObjectPath) -> None:
        with _explained(path):
            self._fs.copy_file(path.key, target.key)
        self.delete(path)

    def delete(self, path: ObjectPath) -> None:
        with _explained(path), contextlib.suppress(FileNotFoundError):
            self._fs.delete_file(path.key)

    def log_file(self, folder: ObjectPath, source: str) -> LogFile:
        return _GrowingObject(self, folder, source)

    def drop_torn_lines(self, folder: ObjectPath, pattern: str) -> None:
        """Nothing: an object holds whole lines."""


class _GrowingObject:
    """An object that is replaced by a longer one with every line, until it is full.

    Its name is nobody else's, whoever takes the same number at the same time. After an error nobody
    knows whether the line is stored, so that the next one goes to another object.
    """

    def __init__(self, store: ObjectStore, folder: ObjectPath, source: str) -> None:
        number = _next_number(store.find(folder, "*.jsonl"))
        self.path = folder / f"{number}-{secrets.token_hex(4)}-{source}.jsonl"
        self.is_full = False
        self._store, self._lines = store, b""

    def append(self, line: bytes) -> None:
        self.is_full = True
        self._store.write(self.path, self._lines + line)
        self._lines += line
        self.is_full = len(self._lines) >= _SEGMENT_BYTES

    def close(self) -> None:
        self._lines = b""


def _send(filesystem: fs.S3FileSystem, key: str, content: pa.Buffer) -> None:
    stream = filesystem.open_output_stream(key)
    stream.write(content)
    stream.close()


def endpoint() -> str | None:
    """Address of the S3-compatible server, None for that of AWS."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


@functools.cache
def _filesystem(bucket: str, server: str | None) -> fs.S3FileSystem:
    """The way to a bucket. Raises UsageError or PerpError if it cannot be used."""
    address = urlsplit(server or "")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if address.netloc and not region:
        region = "us-east-1"  # what servers go by that know no regions
    filesystem = fs.S3FileSystem(
        region=region or None,
        endpoint_override=address.netloc or None,
        scheme=address.scheme or "https",
        allow_delayed_open=True,  # a small object takes one request instead of three
        connect_timeout=10,
        request_timeout=60,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
    )
    with _explained(ObjectPath(bucket)):
        if filesystem.get_file_info(bucket).type == fs.FileType.NotFound:
            raise UsageError(
                f"there is no bucket {bucket} at {_place()}; create it, or set PERP_LAKE, "
                "AWS_REGION and AWS_ENDPOINT_URL to where it is"
            )
    return filesystem


_REFUSED = re.compile(r"AWS Error (ACCESS_DENIED|\w*ACCESS_KEY\w*|\w*SIGNATURE\w*|\w*TOKEN\w*)")


@contextlib.contextmanager
def _explained(path: ObjectPath) -> Iterator[None]:
    """Say what an object store objects to, and what to do. FileNotFoundError passes."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = " ".join(str(error).split())
        if "NO_SUCH_BUCKET" in reason:
            raise UsageError(f"{path}: the bucket is gone from {_place()}; create it") from error
        if _REFUSED.search(reason):
            raise UsageError(
                f"{_place()} refuses {path}: {reason}; set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY (or AWS_PROFILE) to a user who may list the bucket and "
                "read, write and delete its objects"
            ) from error
        if "NETWORK_CONNECTION" in reason:
            raise Unreachable(
                f"{_place()} cannot be reached for {path}: {reason}; check the connection, "
                "AWS_ENDPOINT_URL and AWS_REGION, then run the same command again: what has landed "
                "stays"
            ) from error
        raise PerpError(
            f"{path}: {_place()} says: {reason}; run the same command again: what has landed stays "
            "(if it says so at once, check AWS_REGION)"
        ) from error


def _place() -> str:
    return endpoint() or "AWS"
