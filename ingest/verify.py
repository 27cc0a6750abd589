"""Compare every file of a lake with the log that describes it, and set aside what differs."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import itertools
import multiprocessing
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.claims import holders
from ingest.datasets import SOURCES, VISION, Dataset
from ingest.errors import PerpError
from ingest.lake import (
    Key,
    Lake,
    LandingLog,
    LandingRecord,
    LandingState,
    parquet_options,
)
from ingest.names import decode_symbol
from ingest.progress import Progress
from ingest.store import local_side, store_of
from ingest.worker import end_with

_CHUNK = 250
_CHUNKS_WAITING = 4  # per process
_WHOLE_BYTES = 32 << 20  # a larger file is not read into memory
_FILE_COSTS_BYTES = 500_000  # opening a file takes as long as reading so much
_TEMPORARY = re.compile(r"\.(\d+)\.tmp$")
_ORDERED_BY_ID = ("agg_trades",)  # the first row need not be the earliest


@dataclass(frozen=True)
class Finding:
    """One thing that is not as the log says.

    Args:
        kind: ``missing``, ``differs``, ``unlogged``, ``log``, ``schema`` or ``leftover``.
        file: the file it is about.
        what: what is wrong with it.
        do: what to do about it.
        record: the log record of the partition, where there is one.
    """

    kind: str
    file: PurePath
    what: str
    do: str
    record: LandingRecord | None = None

    @property
    def is_wrong(self) -> bool:
        """False for what a killed process left behind: it is in nobody's way."""
        return self.kind != "leftover"

    @property
    def line(self) -> str:
        """The finding as one line of text."""
        return f"{self.kind}: {self.file}: {self.what}; {self.do}"


@dataclass
class Verified:
    """What a verification looked at, and found."""

    files: int
    bytes: int
    seconds: float
    findings: list[Finding]

    @property
    def ok(self) -> bool:
        """True if nothing is wrong."""
        return not any(f.is_wrong for f in self.findings)


@dataclass(frozen=True)
class _Expected:
    """What the log says of one file, in a form that is cheap to send to another process."""

    path: PurePath
    source: str
    dataset: str
    bytes: int
    sha256: str | None
    rows: int
    first: str | None
    last: str | None


def verify(
    lake: Lake,
    chosen: Callable[[str, str], bool] = lambda dataset, symbol: True,
    *,
    quick: bool = False,
    processes: int = 2,
    note: Callable[[Finding], None] = lambda _: None,
) -> Verified:
    """Check partitions against their records; changes nothing.

    Args:
        chosen: which (dataset, symbol) to look at.
        quick: read the footers only, and leave the checksums out.
        processes: that read files at the same time.
        note: gets every finding, as it is found.
    """
    findings: list[Finding] = []

    def found(finding: Finding) -> None:
        findings.append(finding)
        note(finding)

    records: list[LandingRecord] = []
    states: dict[str, LandingState] = {}
    for source in SOURCES:
        states[source] = LandingState(lake.log_folder, source)
        try:
            every = states[source].refresh().values()
        except PerpError as error:
            found(Finding("log", lake.log_folder, str(error), "its partitions are not looked at"))
            del states[source]
            continue
        records += [r for r in every if chosen(r.dataset, r.symbol)]
    on_record = [r for r in records if r.parquet_bytes is not None]
    total = sum(r.parquet_bytes or 0 for r in on_record)
    weight = len(on_record) * _FILE_COSTS_BYTES + (0 if quick else total)
    with Progress("verify", len(on_record), "files", weight) as progress:
        for record, problem in _check_all(lake, on_record, quick, processes, progress):
            if now := _still(lake, record, problem, states[record.source], quick):
                found(now)
        seconds = progress.seconds
    for finding in itertools.chain(
        _unlogged(lake, states, chosen), _schemas(lake), _leftovers(lake)
    ):
        found(finding)
    return Verified(len(on_record), total, seconds, findings)


# ------------------------------------------------------------------------------- partitions
def _expected(lake: Lake, record: LandingRecord) -> _Expected:
    return _Expected(
        lake.partition_of(record),
        record.source,
        record.dataset,
        record.parquet_bytes or 0,
        record.parquet_sha256,
        record.rows_out,
        record.first_time,
        record.last_time,
    )


def _check_all(
    lake: Lake,
    records: list[LandingRecord],
    quick: bool,
    processes: int,
    progress: Progress,
) -> Iterator[tuple[LandingRecord, str]]:
    """Records whose file differs from them, and how."""
    chunks = iter(_chunks(records))
    if len(records) <= _CHUNK:  # not worth a process
        for chunk in chunks:
            problems = check_files([_expected(lake, r) for r in chunk], quick)
            yield from _settle(chunk, problems, quick, progress)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, end_with, (os.getpid(),))
    running: dict[Future[list[str | None]], list[LandingRecord]] = {}
    try:
        while True:
            for chunk in itertools.islice(chunks, processes * _CHUNKS_WAITING - len(running)):
                expected = [_expected(lake, r) for r in chunk]
                running[pool.submit(check_files, expected, quick)] = chunk
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                yield from _settle(running.pop(done), done.result(), quick, progress)
    finally:
        pool.shutdown(cancel_futures=True)


def _chunks(records: list[LandingRecord]) -> Iterator[list[LandingRecord]]:
    """Records in pieces that take about as long."""
    chunk: list[LandingRecord] = []
    weight = 0
    for record in records:
        chunk.append(record)
        weight += _FILE_COSTS_BYTES + (record.parquet_bytes or 0)
        if weight >= _CHUNK * _FILE_COSTS_BYTES:
            yield chunk
            chunk, weight = [], 0
    if chunk:
        yield chunk


def _settle(
    chunk: list[LandingRecord], problems: list[str | None], quick: bool, progress: Progress
) -> Iterator[tuple[LandingRecord, str]]:
    for record, problem in zip(chunk, problems, strict=True):
        size = 0 if quick else record.parquet_bytes or 0
        progress.bytes += size
        progress.add_weight(size + _FILE_COSTS_BYTES)
        progress.finish_one()
        if problem:
            yield record, problem


def check_files(files: list[_Expected], quick: bool) -> list[str | None]:
    """What is wrong with each file, or None; runs in a worker process."""
    return [check_file(file, quick) for file in files]


def check_file(file: _Expected, quick: bool) -> str | None:
    """What is wrong with a file, or None."""
    try:
        with store_of(file.path).open(file.path) as handle:
            size = handle.seek(0, os.SEEK_END)
            handle.seek(0)
            if size != file.bytes:
                return f"it has {size:,} bytes, the log says {file.bytes:,}"
            if quick or size > _WHOLE_BYTES:
                digest = None if quick else hashlib.file_digest(handle, "sha256").hexdigest()
                handle.seek(0)
                metadata = pq.read_metadata(handle)
            else:
                content = handle.read()
                digest = hashlib.sha256(content).hexdigest()
                if file.sha256 in (None, digest):
                    metadata = pq.read_metadata(pa.BufferReader(content))
    except FileNotFoundError:
        return "it is missing"
    except (OSError, pa.ArrowException) as error:
        return f"it cannot be read: {error}"
    if digest and file.sha256 and digest != file.sha256:
        return f"its sha256 is {digest}, the log says {file.sha256}"
    return _check_metadata(metadata, file)


def _check_metadata(metadata: pq.FileMetaData, file: _Expected) -> str | None:
    if metadata.num_rows != file.rows:
        return f"it has {metadata.num_rows:,} rows, the log says {file.rows:,}"
    schema, time_column = _columns(file.source, file.dataset)
    if not metadata.schema.equals(schema):
        return "its columns are not those of the dataset"
    span = _time_span(metadata, time_column)
    if not file.rows or file.first is None or file.last is None or span is None:
        return None
    first, last = datetime.fromisoformat(file.first), datetime.fromisoformat(file.last)
    inside = span[0] <= first and last <= span[1]
    if span != (first, last) and not (file.dataset in _ORDERED_BY_ID and inside):
        return f"its times run from {span[0]} to {span[1]}, the log says {first} to {last}"
    return None


def _time_span(metadata: pq.FileMetaData, column: int) -> tuple[datetime, datetime] | None:
    """Earliest and latest time by the statistics of the row groups, if all have some."""
    known = [
        metadata.row_group(n).column(column).statistics for n in range(metadata.num_row_groups)
    ]
    if not known or not all(s is not None and s.has_min_max for s in known):
        return None
    return min(s.min for s in known), max(s.max for s in known)


@functools.cache
def _columns(source: str, dataset: str) -> tuple[pq.ParquetSchema, int]:
    """The Parquet schema of a dataset, and the position of its time column."""
    spec, sink = SOURCES[source][dataset], io.BytesIO()
    pq.write_table(spec.schema.empty_table(), sink, **parquet_options(spec))
    schema = pq.read_metadata(pa.BufferReader(sink.getvalue())).schema
    return schema, spec.schema.get_field_index(spec.time_column)


def _still(
    lake: Lake, record: LandingRecord, problem: str, state: LandingState, quick: bool
) -> Finding | None:
    """The finding, unless another process is landing the partition, or has done so meanwhile."""
    if record.key in holders(lake, record.source, [record.key]):
        return None
    newest = state.refresh().get(record.key, record)
    if newest.log_seq != record.log_seq:
        now = check_file(_expected(lake, newest), quick) if newest.parquet_bytes else None
        if now is None:
            return None
        record, problem = newest, now
    kind = "missing" if problem == "it is missing" else "differs"
    return Finding(kind, lake.partition_of(record), problem, _what_to_do(record, kind), record)


def _what_to_do(record: LandingRecord, kind: str) -> str:
    again = f"perp retry --datasets {record.spec.made_with or record.dataset} "
    again += f"--symbols {record.symbol}"
    if can_be_landed_again(record):
        return f"run {again}"
    if kind == "missing":
        return "restore it from a backup; its source may not have all of it any more"
    return "restore it from a backup, or set it aside with: perp verify --repair"


def can_be_landed_again(record: LandingRecord) -> bool:
    """Whether the source of a partition still has all that the partition held.

    The archive and the vendor have; the API has the series that the archive has too, but open
    interest and ratios for 30 days only. What was recorded or imported is nowhere else.
    """
    if record.source == "tardis":
        return all(_can_be_asked(f.url) for f in record.files if f.outcome == "landed")
    return record.source == "vision" or (record.source == "api" and record.dataset in VISION)


def _can_be_asked(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme != "file" or Path(unquote(parts.path)).exists()


# ------------------------------------------------------------------------------- other files
def _unlogged(
    lake: Lake, states: Mapping[str, LandingState], chosen: Callable[[str, str], bool]
) -> Iterator[Finding]:
    """Partition files that no record tells of."""
    for source, state in states.items():
        unknown = list(_without_record(lake, source, state.records, chosen))
        if not unknown:
            continue
        landing = holders(lake, source, [key for key, _ in unknown])
        state.refresh()
        for key, path in unknown:
            record = state.records.get(key)
            if key in landing or (record and record.parquet_bytes is not None):
                continue
            made = LandingRecord(source, *key, "failed")
            do = "the next ingest of it replaces it, or set it aside with: perp verify --repair"
            if not can_be_landed_again(made):
                do = "the next ingest of its source adds to it and logs it"
            yield Finding(
                "unlogged",
                path,
                "no record tells of it: its ingest was killed before it could be logged",
                do,
                replace(record, parquet_bytes=None) if record else made,
            )


def _without_record(
    lake: Lake,
    source: str,
    records: Mapping[Key, LandingRecord],
    chosen: Callable[[str, str], bool],
) -> Iterator[tuple[Key, PurePath]]:
    for dataset in SOURCES[source].values():
        for symbol, month, path in lake.partitions(dataset):
            record = records.get((dataset.name, symbol, month))
            if chosen(dataset.name, symbol) and (record is None or record.parquet_bytes is None):
                yield (dataset.name, symbol, month), path


def _schemas(lake: Lake) -> Iterator[Finding]:
    """Zero-row files whose columns are not those of their dataset."""
    for dataset, path, schema in lake.schemas():
        if schema != dataset.schema:
            yield Finding(
                "schema",
                path,
                f"it is missing, or not the columns of {dataset.name}",
                "any perp ingest writes it",
            )


def _leftovers(lake: Lake) -> Iterator[Finding]:
    """Temporary files of processes that are gone."""
    for path in dead_temporaries(lake):
        yield Finding("leftover", path, "a killed process left it", "remove it with: perp prune")


def dead_temporaries(lake: Lake) -> Iterator[Path]:
    """Temporary files whose process does not live any more."""
    for source in SOURCES:
        places: Iterable[Path] = itertools.chain(
            (lake.local / source).glob("*/symbol=*/month=*/*.tmp"),
            (lake.tmp / source).rglob("*.tmp"),
        )
        yield from (p for p in sorted(places) if not _is_alive(p))
    kept = (local_side(lake.quarantine), local_side(lake.raw))
    for folder in (lake.local, lake.locks, *kept):
        deep = folder in kept
        found = folder.rglob("*.tmp") if deep else folder.glob("*.tmp")
        yield from (p for p in sorted(found) if not _is_alive(p))


def _is_alive(path: Path) -> bool:
    """Whether the process that writes a temporary file lives; another one may have its number."""
    match = _TEMPORARY.search(path.name)
    if not match:
        return True
    try:
        os.kill(int(match[1]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# ------------------------------------------------------------------------------------ repair
def repair(lake: Lake, findings: Iterable[Finding]) -> Iterator[tuple[Finding, str]]:
    """Move partitions that are not as logged to quarantine, and log it; yields what was done.

    The log says of the files of such a partition that they failed, so that the next ingest, and
    ``perp retry``, read them again. Rows that can be read and that the source may not bring again
    stay where they are.
    """
    by_source: dict[str, list[tuple[Finding, LandingRecord]]] = {}
    for finding in findings:
        if finding.record and finding.kind in ("missing", "differs", "unlogged"):
            of_source = by_source.setdefault(finding.record.source, [])
            of_source.append((finding, finding.record))
    for source, of_source in by_source.items():
        with (
            lake.shared(source) as claims,
            contextlib.closing(LandingLog(lake.log_folder, source)) as log,
        ):
            state = LandingState(lake.log_folder, source)
            for finding, record in of_source:
                if not claims.take(record.key):
                    yield finding, "left alone: another process is landing it"
                    continue
                try:
                    newest = state.refresh().get(record.key)
                    if newest and record.log_seq != newest.log_seq:
                        yield finding, "left alone: it has landed meanwhile"
                    else:
                        yield finding, _set_aside(lake, log, finding, record, newest)
                finally:
                    claims.release(record.key)


def moved_to(lake: Lake, record: LandingRecord, seq: str) -> PurePath:
    """Where a partition goes that is set aside; ``seq`` is that of the record that described it."""
    path = lake.partition_of(record).relative_to(lake.root)
    return lake.quarantine / "partitions" / path.parent / f"{seq or 'unlogged'}.parquet"


def _set_aside(
    lake: Lake,
    log: LandingLog,
    finding: Finding,
    record: LandingRecord,
    newest: LandingRecord | None,
) -> str:
    if not can_be_landed_again(record) and _can_be_read(finding.file, record.spec):
        return "left where it is: its rows can be read, and its source may not bring them again"
    gone = "there was no file to move"
    if lake.store.exists(finding.file):
        target = _free(lake, moved_to(lake, record, newest.log_seq if newest else ""))
        lake.store.move(finding.file, target)
        gone = f"moved to {target}"
    if newest is None:
        return f"{gone}; no record told of it, the next ingest lands it"
    error = f"{record.dataset} {record.symbol} {record.month}: {finding.what}; {gone}"
    log.append(_failed(newest, error), after=newest.log_seq)
    return f"{gone}; on record as failed, the next ingest or perp retry lands it"


def _failed(record: LandingRecord, error: str) -> LandingRecord:
    """The record of a partition that is gone: whatever it was made from is to be read again."""
    files = [
        replace(f, outcome="failed", error=error, carried=False)
        if f.outcome == "landed"
        else replace(f, carried=True)
        for f in record.files
    ]
    empty = LandingRecord(record.source, *record.key, "failed")
    return replace(
        empty,
        first_day=record.first_day,
        last_day=record.last_day,
        files=files,
        error=error,
    )


def _free(lake: Lake, path: PurePath) -> PurePath:
    """The path, or one beside it that nothing has."""
    names = (path.with_stem(f"{path.stem}-{n}") if n else path for n in itertools.count())
    return next(p for p in names if not lake.store.exists(p))


def _can_be_read(path: PurePath, dataset: Dataset) -> bool:
    try:
        with store_of(path).parquet(path) as file:
            for _ in file.iter_batches():
                pass
            return bool(file.schema_arrow.equals(dataset.schema))
    except (OSError, pa.ArrowException):
        return False


def partition_key(path: PurePath) -> Key:
    """(dataset, symbol, month) of a path ``…/dataset/symbol=…/month=…/file``."""
    dataset, symbol, month = path.parts[-4:-1]
    return dataset, decode_symbol(symbol.removeprefix("symbol=")), month.removeprefix("month=")
