"""Land day files of Tardis: liquidations and derivative tickers, by their day of arrival.

A month is put together day by day: new editions of days take the place of what the partition held
of them, and the rest is taken over. A day that has been read waits in the partition's folder below
the lake's ``_tmp``, with its record beside it, until its month is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.config import Config, origin
from ingest.datasets import MARKET, TARDIS
from ingest.errors import PerpError, Quarantine
from ingest.lake import (
    PARSER_VERSION,
    Claims,
    FileRecord,
    Key,
    Lake,
    LandingLog,
    LandingRecord,
    LandingState,
    Status,
)
from ingest.partition import rows_between, write_in_pieces
from ingest.progress import Progress
from ingest.run import Options, Summary, clear, each, each_claimed, writing
from ingest.sources.downloads import (
    Failed,
    NotFound,
    NotModified,
    file_sha256,
    finish_part,
)
from ingest.sources.tardis import (
    FIRST_RECORDED,
    DayFile,
    TardisClient,
    lake_symbol,
    local_files,
)
from ingest.spans import Span, to_log, union_spans
from ingest.store import write_atomic
from ingest.tardis_csv import decode_day
from ingest.universe import default_symbols

SOURCE = "tardis"


class Unchanged(Exception):
    """A file is of an edition that has been dealt with; ``edition`` is what was learnt then."""

    def __init__(self, edition: FileRecord) -> None:
        super().__init__()
        self.edition = edition


class _Files(Protocol):
    """Where day files come from."""

    def has(self, file: DayFile) -> bool:
        """Whether a file can be asked for."""
        ...

    def location(self, file: DayFile) -> str:
        """Its address."""
        ...

    async def bring(
        self, file: DayFile, folder: Path, record: FileRecord, known: list[FileRecord]
    ) -> Path:
        """Have a file on this disk, and say in the record which edition it is.

        Raises Unchanged if it is one of the ``known`` ones; else NotFound, Failed or Quarantine.
        """
        ...

    def put_away(self, file: DayFile, path: Path, record: FileRecord) -> None:
        """A file has been read, or refused."""
        ...


class _Local:
    """Files of a folder; they stay as they are."""

    def __init__(self, paths: Mapping[DayFile, Path], on_bytes: Callable[[int], None]) -> None:
        self.paths, self.on_bytes = paths, on_bytes

    def has(self, file: DayFile) -> bool:
        return file in self.paths

    def location(self, file: DayFile) -> str:
        return self.paths[file].as_uri()

    async def bring(
        self, file: DayFile, folder: Path, record: FileRecord, known: list[FileRecord]
    ) -> Path:
        path = self.paths[file]
        record.bytes, record.sha256_actual = path.stat().st_size, await file_sha256(path)
        _refuse_known(record, known)
        self.on_bytes(record.bytes)
        return path

    def put_away(self, file: DayFile, path: Path, record: FileRecord) -> None:
        if record.outcome == "quarantined":
            record.error = f"{record.error}; it is {path}"


class _Remote:
    """Files of the vendor's server; they go when they have been read, bad ones to quarantine."""

    def __init__(self, server: TardisClient, lake: Lake) -> None:
        self.server, self.lake = server, lake

    def has(self, file: DayFile) -> bool:
        return True

    def location(self, file: DayFile) -> str:
        return self.server.url(file.key)

    async def bring(
        self, file: DayFile, folder: Path, record: FileRecord, known: list[FileRecord]
    ) -> Path:
        part = folder / f"{file.name}.part"
        editions = {edition.etag: edition for edition in known if edition.etag}
        try:
            record.etag, record.last_modified, record.attempts = await self.server.download(
                file, part, set(editions)
            )
        except NotModified as error:
            if not editions:
                raise Failed("HTTP 304: unexpected answer", 1) from error
            raise Unchanged(editions.get(error.etag, known[-1])) from None
        except Failed as error:
            record.attempts = error.attempts
            if not self.server.answered:
                raise PerpError(
                    f"cannot reach {self.server.base_url}: {error}; check the connection and "
                    "PERP_TARDIS_URL, then run this command again"
                ) from error
            raise
        path = finish_part(part)
        record.bytes, record.sha256_actual = path.stat().st_size, await file_sha256(path)
        try:
            _refuse_known(record, known)
        except Unchanged:
            path.unlink()
            raise
        return path

    def put_away(self, file: DayFile, path: Path, record: FileRecord) -> None:
        if record.outcome != "quarantined":
            path.unlink()
            return
        target = self.lake.quarantine / SOURCE / file.name
        self.lake.store.put(path, target)
        record.error = f"{record.error}; kept as {target}"


def _refuse_known(record: FileRecord, known: list[FileRecord]) -> None:
    for edition in known:
        if (edition.sha256_actual, edition.bytes) == (record.sha256_actual, record.bytes):
            etag, modified = record.etag or edition.etag, record.last_modified
            raise Unchanged(
                replace(edition, etag=etag, last_modified=modified or edition.last_modified)
            )


@dataclass(frozen=True)
class _Task:
    """Days of one partition to ask for."""

    dataset: str
    symbol: str
    month: str
    days: tuple[date, ...]

    @property
    def key(self) -> Key:
        return self.dataset, self.symbol, self.month

    def file(self, day: date) -> DayFile:
        return DayFile(self.dataset, self.symbol, day)


def ingest_tardis(
    config: Config,
    *,
    path: Path | None,
    datasets: list[str],
    symbols: list[str] | None,
    first: date,
    last: date,
    options: Options,
    dry_run: bool = False,
    only: Collection[DayFile] | None = None,
) -> Summary:
    """Land day files of these datasets and symbols, for the days of arrival from first to last.

    Args:
        path: folder to take the files from; None asks ``config.tardis_url``.
        symbols: contracts, and ``PERPETUALS`` for the vendor's file of all of them. None takes what
            the folder holds; from the server ``PERPETUALS`` for liquidations and the universe for
            derivative tickers.
        dry_run: only count what would be asked for: ``files["planned"]``.
        only: files to ask for, instead of all that the other arguments name.

    Raises UsageError or PerpError; failures of single files are in the summary and in the log.
    """
    local, others = local_files(path) if path else ({}, 0)
    chosen = [lake_symbol(symbol) for symbol in symbols] if symbols is not None else None
    if path:
        wanted = [
            file
            for file in local
            if file.dataset in datasets
            and (chosen is None or file.symbol in chosen)
            and first <= file.day <= last
        ]
    else:
        first = max(first, FIRST_RECORDED)
        wanted = [
            DayFile(dataset, symbol, first + timedelta(days=n))
            for dataset in datasets
            for symbol in (_default_symbols(dataset) if chosen is None else chosen)
            for n in range((last - first).days + 1)
        ]
    if only is not None:
        wanted = [file for file in only if not path or file in local]
    lake = Lake(config.lake)
    lake.prepare(None if path else origin(config.tardis_url))
    with lake.shared(SOURCE) as claims:
        tasks = _tasks(wanted)
        if dry_run:
            return _planned(tasks, lake.state(SOURCE))
        if left := others + len(local) - len(wanted) if path else 0:
            message = f"{path}: {len(wanted)} day files to land, {left} other files are left alone"
            print(message, file=sys.stderr)
        return asyncio.run(_ingest(config, lake, claims, tasks, local if path else None, options))


def _default_symbols(dataset: str) -> list[str]:
    return [MARKET] if dataset == "liquidations" else default_symbols()


def _tasks(files: Iterable[DayFile]) -> list[_Task]:
    """Partitions, in an order by which a run cut short leaves whole symbols."""
    days: dict[tuple[str, str, str], list[date]] = defaultdict(list)
    for file in files:
        days[file.symbol, f"{file.day:%Y-%m}", file.dataset].append(file.day)
    return [
        _Task(dataset, symbol, month, tuple(sorted(of_month)))
        for (symbol, month, dataset), of_month in sorted(days.items())
    ]


def _planned(tasks: list[_Task], state: Mapping[Key, LandingRecord]) -> Summary:
    summary = Summary()
    for task in tasks:
        record = state.get(task.key)
        held = _by_day(record) if record else {}
        landed = [d for d in task.days if _landed(held.get(d, []))]
        summary.files["planned"] += len(task.days)
        summary.files["on record"] += len(landed)
        summary.partitions["planned"] += 1
    return summary


async def _ingest(
    config: Config,
    lake: Lake,
    claims: Claims,
    tasks: list[_Task],
    local: Mapping[DayFile, Path] | None,
    options: Options,
) -> Summary:
    if current := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, current.cancel)
    with (
        contextlib.closing(LandingLog(lake.log_folder, SOURCE)) as log,
        Progress("ingest", len(tasks), "partitions", sum(len(t.days) for t in tasks)) as progress,
    ):
        if local is not None:
            files = _Local(local, progress.add_bytes)
            return await _Runner(lake, files, options, log, progress).run(tasks, claims)
        server = TardisClient(
            config.tardis_url,
            connections=options.connections,
            retry=options.retry,
            on_bytes=progress.add_bytes,
        )
        async with server:
            remote = _Remote(server, lake)
            return await _Runner(lake, remote, options, log, progress).run(tasks, claims)


class _Runner:
    """One run: where its files come from, its lake and log."""

    def __init__(
        self, lake: Lake, files: _Files, options: Options, log: LandingLog, progress: Progress
    ) -> None:
        self.lake, self.files, self.options = lake, files, options
        self.log, self.progress = log, progress
        self.state = LandingState(lake.log_folder, SOURCE)
        self.summary = Summary()
        self.working = asyncio.Semaphore(options.workers)
        self.stop = threading.Event()

    async def run(self, tasks: list[_Task], claims: Claims) -> Summary:
        try:
            await each_claimed(tasks, self._work, claims, self.progress)
        finally:
            self.stop.set()
            self.summary.seconds = self.progress.seconds
            self.summary.bytes = self.progress.bytes
        return self.summary

    async def _work(self, task: _Task) -> None:
        with writing(self.lake):
            await self._land(task)

    # ---------------------------------------------------------------------------- one partition
    async def _land(self, task: _Task) -> None:
        folder = self.lake.downloads(SOURCE, task.key)
        folder.mkdir(parents=True, exist_ok=True)
        held = _Held.of(self.lake, self.state.refresh().get(task.key), self.options)
        again = {day for day in held.unreadable if self.files.has(task.file(day))}
        asked = sorted({*task.days, *again})
        results: dict[date, FileRecord] = {}

        async def read(day: date) -> None:
            results[day] = await self._read(task.file(day), folder, held.editions(day))
            self.progress.add_weight(1)

        await each(asked, read, self.options.connections)

        record = LandingRecord(SOURCE, *task.key, "landed")
        record.first_day, record.last_day = _asked(task.days, held.record)
        for day in sorted({*asked, *held.days}):
            record.files += [results[day]] if day in results else []
            record.files += held.beside(day, results.get(day))
        landed = _landed(record.files)
        record.covered = to_log(union_spans(_day_span(f.period) for f in landed))
        if held.record and any(f.carried for f in landed):
            record.parser_version = held.record.parser_version
        self.summary.known_bad += sum(
            f.carried and f.outcome == "quarantined" for f in results.values()
        )

        fresh = {f.period for f in landed if not f.carried}
        if fresh:
            await self._commit(record, {d: _decoded(folder, d) for d in fresh}, held.record)
        elif _is_news(_nothing_new(record, held.record), held.record):
            self._note(record, held.record)
        else:
            self.summary.up_to_date += 1
        clear(folder)

    async def _commit(
        self, record: LandingRecord, decoded: Mapping[str, Path], held: LandingRecord | None
    ) -> None:
        async with self.working:
            done = asyncio.ensure_future(asyncio.to_thread(assemble, self.lake, record, decoded))
            try:
                await asyncio.shield(done)
            except asyncio.CancelledError:  # the file will be replaced; its log line must follow
                await done
                self._note(record, held)
                raise
        self._note(record, held)

    def _note(self, record: LandingRecord, held: LandingRecord | None) -> None:
        """Write the log line and count it."""
        self.log.append(record, after=held.log_seq if held else "")
        for problem in self.summary.add(record):
            self.progress.note(problem)

    # ---------------------------------------------------------------------------------- one day
    async def _read(self, file: DayFile, folder: Path, known: list[FileRecord]) -> FileRecord:
        """Bring and decode one file; whatever happens becomes its record.

        An edition that is known gives its old record, carried over.
        """
        period = file.day.isoformat()
        record = FileRecord(self.files.location(file), period, "failed")
        waiting = _decoded_before(folder, period, known)
        path: Path | None = None
        try:
            path = await self.files.bring(file, folder, record, [*known, *waiting])
            async with self.working:
                await asyncio.to_thread(
                    decode_day,
                    path,
                    _decoded(folder, period),
                    TARDIS[file.dataset],
                    file.symbol,
                    record,
                    self.stop,
                )
        except Unchanged as same:
            if waiting and same.edition.sha256_actual == waiting[0].sha256_actual:
                return waiting[0]
            return replace(same.edition, carried=True)
        except NotFound:
            record.outcome, record.error = "absent_upstream", "HTTP 404"
        except Failed as error:
            record.error = f"{file.dataset} {file.vendor_symbol}: {error}"
        except (Quarantine, pa.ArrowException, ValueError) as error:
            record.outcome, record.error = "quarantined", f"{file.name}: {error}"
        else:
            record.outcome = "landed"
            _keep(folder, record)
        if path:
            self.files.put_away(file, path, record)
            self.progress.finish_file(file.name, record.rows_in or 0)
        return record


@dataclass(frozen=True)
class _Held:
    """What the newest record of a partition says, as far as it can be built on.

    Args:
        days: its files by day; those that landed only while the partition is intact.
        unreadable: days whose rows are lost, or were read by an older parser.
        settled: outcomes of files that are not read again while they stay the same.
    """

    record: LandingRecord | None
    days: Mapping[date, list[FileRecord]]
    unreadable: frozenset[date]
    settled: tuple[Status, ...]

    @classmethod
    def of(cls, lake: Lake, record: LandingRecord | None, options: Options) -> _Held:
        settled: tuple[Status, ...] = ("landed", "quarantined")
        if options.retry_quarantined:
            settled = ("landed",)
        if record is None:
            return cls(None, {}, frozenset(), settled)
        days = _by_day(record)
        landed = frozenset(d for d, files in days.items() if _landed(files))
        if landed and not lake.is_intact(record):
            kept = {d: [f for f in files if f.outcome != "landed"] for d, files in days.items()}
            lost = replace(record, parquet_bytes=None, parquet_sha256=None, rows_out=0)
            return cls(lost, kept, landed, settled)
        if record.parser_version != PARSER_VERSION:
            return cls(record, days, landed, ())
        return cls(record, days, frozenset(), settled)

    def editions(self, day: date) -> list[FileRecord]:
        """Editions of a day's file that need not be read again."""
        return [f for f in self.days.get(day, []) if f.outcome in self.settled]

    def beside(self, day: date, result: FileRecord | None) -> list[FileRecord]:
        """What stays on record of a day, besides what has become of its file now."""
        stays: tuple[Status, ...] = ("landed", "quarantined")
        if result is None:
            stays += ("absent_upstream", "failed")
        elif result.outcome == "landed":
            stays = ()
        elif result.outcome == "quarantined":
            stays = ("landed",)
        return [replace(f, carried=True) for f in self.days.get(day, []) if f.outcome in stays]


def _by_day(record: LandingRecord) -> dict[date, list[FileRecord]]:
    days: dict[date, list[FileRecord]] = defaultdict(list)
    for file in record.files:
        days[date.fromisoformat(file.period)].append(file)
    return days


def _landed(files: Iterable[FileRecord]) -> list[FileRecord]:
    return [f for f in files if f.outcome == "landed"]


def _asked(days: tuple[date, ...], record: LandingRecord | None) -> tuple[str, str]:
    """First and last day that have been asked for, now or before."""
    first, last = days[0].isoformat(), days[-1].isoformat()
    if record is None:
        return first, last
    return min(first, record.first_day), max(last, record.last_day)


def _nothing_new(record: LandingRecord, held: LandingRecord | None) -> LandingRecord:
    """An attempt that brought no rows: say why, and stand by what the partition already holds."""
    now = {f.outcome for f in record.files if not f.carried}
    ever = {f.outcome for f in record.files}
    troubles: tuple[Status, ...] = ("failed", "quarantined")
    states: tuple[Status, ...] = ("landed", "quarantined", "failed", "absent_upstream")
    record.status = next((s for s in troubles if s in now), next(s for s in states if s in ever))
    errors = (f.error for f in record.files if f.error and not f.carried)
    record.error = "; ".join(dict.fromkeys(errors)) or None
    if held is not None:
        for name in ("rows_out", "first_time", "last_time", "parquet_bytes", "parquet_sha256"):
            setattr(record, name, getattr(held, name))
    return record


def _is_news(record: LandingRecord, held: LandingRecord | None) -> bool:
    """Whether a record says anything that the one before did not; failures always do."""
    troubles = ("failed", "quarantined")
    if held is None or any(f.outcome in troubles and not f.carried for f in record.files):
        return True

    def facts(of: LandingRecord) -> list[object]:
        files = [(f.period, f.outcome, f.etag, f.sha256_actual) for f in of.files]
        return [of.first_day, of.last_day, of.parquet_bytes, files]

    return facts(record) != facts(held)


# --------------------------------------------------------------------------------- decoded days
def _decoded(folder: Path, period: str) -> Path:
    return folder / f"{period}.parquet"


def _keep(folder: Path, record: FileRecord) -> None:
    """Put the record beside the rows, so that the next run finds them if this one is cut short."""
    content = {"parser": PARSER_VERSION, **asdict(record)}
    write_atomic(folder / f"{record.period}.json", json.dumps(content).encode())


def _decoded_before(folder: Path, period: str, known: list[FileRecord]) -> list[FileRecord]:
    """The record of a day that an interrupted run has read but not landed; or none."""
    try:
        held = json.loads((folder / f"{period}.json").read_text())
        parser = held.pop("parser")
        record = FileRecord(**held)
    except (OSError, ValueError, KeyError, TypeError):
        return []
    if parser != PARSER_VERSION or record.sha256_actual in {f.sha256_actual for f in known}:
        return []
    return [record]


def assemble(lake: Lake, record: LandingRecord, decoded: Mapping[str, Path]) -> LandingRecord:
    """Write a month from newly decoded days and from what the partition holds of the others.

    Args:
        record: its ``files`` already say which days the partition is made of; counts are filled in.
        decoded: Parquet files of the new days.
    """
    fresh = [f for f in record.files if f.outcome == "landed" and not f.carried]
    record.rows_in = sum(f.rows_in or 0 for f in fresh)
    record.duplicates_dropped = sum(f.duplicates_dropped for f in fresh)
    record.out_of_order = sum(f.out_of_order for f in fresh)
    return write_in_pieces(lake, record, _rows(lake, record, decoded))


def _rows(
    lake: Lake, record: LandingRecord, decoded: Mapping[str, Path]
) -> Iterator[pa.RecordBatch]:
    """Rows of the month, day after day."""
    days = [f.period for f in _landed(record.files)]
    for is_fresh, span in itertools.groupby(days, key=decoded.__contains__):
        if is_fresh:
            for day in span:
                with pq.ParquetFile(decoded[day]) as file:
                    yield from file.iter_batches()
        else:
            bounds = [_day_span(day) for day in span]
            held = lake.partition_of(record)
            yield from rows_between(held, record.spec, bounds[0][0], bounds[-1][1])


def _day_span(day: str) -> Span:
    start = datetime.fromisoformat(day)
    return start, start + timedelta(days=1)
