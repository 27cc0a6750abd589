"""Carry out a plan: concurrent downloads, decoding in workers, one log line per partition."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TypeVar

from ingest.config import Config
from ingest.datasets import DATASETS
from ingest.decode import DecodeResult, assemble, decode_file, short_days, utc_today
from ingest.errors import PerpError, Quarantine
from ingest.lake import FileRecord, Lake, LandingLog, LandingRecord, Status
from ingest.names import days, encode_symbol
from ingest.plan import Plan, Task, Upstream, make_plan
from ingest.progress import Progress
from ingest.sources.vision import (
    ChecksumMismatch,
    Failed,
    NotFound,
    RemoteFile,
    Retry,
    VisionArchive,
    discard_part,
)

SOURCE = "vision"
T = TypeVar("T")
_CONCURRENT_PARTITIONS = 12


@dataclass(frozen=True)
class Options:
    """How to carry out an ingest."""

    connections: int = 8
    workers: int = 2
    retry: Retry = field(default_factory=Retry)
    keep_raw: bool = False
    retry_quarantined: bool = False


@dataclass
class Summary:
    """What an ingest did: partitions by status, files by outcome, and what went wrong."""

    up_to_date: int = 0
    partitions: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    rows: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    known_bad: int = 0

    @property
    def ok(self) -> bool:
        """True if nothing failed and nothing was quarantined in this run."""
        return not self.problems


async def list_upstream(
    archive: VisionArchive, datasets: Iterable[str], symbols: Iterable[str], start: date
) -> dict[tuple[str, str], Upstream]:
    """List the files of every (dataset, symbol) from the month of ``start`` on."""
    month = start.strftime("%Y-%m")

    async def one(dataset: str, symbol: str) -> Upstream:
        spec = DATASETS[dataset]
        name_start = spec.file_name(symbol, "").removesuffix(".zip")
        found: dict[str, dict[str, RemoteFile]] = {"monthly": {}, "daily": {}}
        for cadence in spec.cadences:
            for prefix in spec.prefixes(cadence, symbol):
                for file in await archive.files(prefix, name_start, month):
                    found[cadence].setdefault(file.period, file)
        return Upstream(found["monthly"], found["daily"])

    pairs = [(d, s) for s in symbols for d in datasets]
    upstream = {pair: Upstream() for pair in pairs}  # keeps the order that was asked for
    with Progress("list", len(pairs), "directories") as progress:

        async def work(pair: tuple[str, str]) -> None:
            upstream[pair] = await one(*pair)
            progress.finish_one()

        await _each(pairs, work, archive.connections)
    return upstream


async def _each(items: Iterable[T], work: Callable[[T], Awaitable[None]], at_once: int) -> None:
    """Do the work for every item, some at once; the first error stops all and is raised."""
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


async def known_symbols(archive: VisionArchive) -> set[str]:
    """Every contract that the archive has kline files for."""
    spec = DATASETS["klines_1m"]
    names: set[str] = set()
    for cadence in spec.cadences:
        names.update(await archive.folders(f"data/futures/um/{cadence}/{spec.archive_name}/"))
    return names


def ingest_archive(
    config: Config,
    datasets: list[str],
    symbols: list[str],
    start: date,
    end: date,
    options: Options,
    *,
    dry_run: bool = False,
) -> tuple[Plan, Summary]:
    """Land the archive's files of these datasets and symbols, for the days from start to end.

    Raises UsageError or PerpError; failures of single files are in the summary and in the log.
    """
    lake = Lake(config.lake)
    lake.prepare(config.origin)
    with lake.writer_lock(SOURCE):
        lake.clean(SOURCE)
        return asyncio.run(_ingest(config, lake, datasets, symbols, start, end, options, dry_run))


async def _ingest(
    config: Config,
    lake: Lake,
    datasets: list[str],
    symbols: list[str],
    start: date,
    end: date,
    options: Options,
    dry_run: bool,
) -> tuple[Plan, Summary]:
    loop = asyncio.get_running_loop()
    if current := asyncio.current_task():
        loop.add_signal_handler(signal.SIGTERM, current.cancel)
    archive = VisionArchive(
        config.archive_url,
        config.listing_url,
        connections=options.connections,
        retry=options.retry,
    )
    async with archive:
        try:
            upstream = await list_upstream(archive, datasets, symbols, start)
        except (Failed, NotFound) as error:
            raise PerpError(
                f"cannot list {config.listing_url}: {error or 'not found'}; check the connection "
                "and PERP_ARCHIVE_LISTING_URL, then run this command again"
            ) from error
        plan = make_plan(
            upstream,
            lake.state(),
            start,
            end,
            is_intact=lake.is_intact,
            retry_quarantined=options.retry_quarantined,
        )
        if dry_run:
            return plan, Summary(up_to_date=plan.up_to_date)
        with (
            contextlib.closing(LandingLog(lake.log_folder, SOURCE)) as log,
            Progress("ingest", len(plan.tasks), "partitions") as progress,
            ProcessPoolExecutor(
                options.workers,
                multiprocessing.get_context("spawn"),
                initializer=_init_worker,
                initargs=(os.getpid(),),
            ) as pool,
        ):
            return plan, await _Runner(lake, archive, options, log, pool, progress).run(plan)


class _Runner:
    """One run of a plan over the open log, worker pool and progress display."""

    def __init__(
        self,
        lake: Lake,
        archive: VisionArchive,
        options: Options,
        log: LandingLog,
        pool: ProcessPoolExecutor,
        progress: Progress,
    ) -> None:
        self.lake, self.archive, self.options = lake, archive, options
        self.log, self.pool, self.progress = log, pool, progress
        self.summary = Summary()
        archive.on_bytes = progress.add_bytes

    async def run(self, plan: Plan) -> Summary:
        self.summary.up_to_date = plan.up_to_date
        self.summary.known_bad = len(plan.known_bad)
        for fact in plan.facts:
            self.log.append(fact)
            self.summary.partitions[fact.status] += fact.parquet_bytes is None
        try:
            await _each(plan.tasks, self._work, _CONCURRENT_PARTITIONS)
        finally:
            self.summary.seconds = self.progress.seconds
            self.summary.bytes = self.progress.bytes
        return self.summary

    async def _work(self, task: Task) -> None:
        try:
            record = await self._land(task)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise PerpError(
                    f"no space left for the lake {self.lake.root}; free some and run the same "
                    "command again: what has landed stays"
                ) from error
            raise PerpError(f"cannot write the lake {self.lake.root}: {error}") from error
        except BrokenProcessPool as error:
            raise PerpError(
                f"a worker process died while reading {task.dataset} {task.symbol} "
                f"{task.month} (out of memory?); run the same command again to go on"
            ) from error
        self.progress.finish_one(record.rows_out)

    # ---------------------------------------------------------------------------- one partition
    async def _land(self, task: Task) -> LandingRecord:
        spec = DATASETS[task.dataset]
        previous = task.previous.files if task.previous else []
        held = {f.period: f for f in previous if f.outcome == "landed"}
        folder = self.lake.tmp / SOURCE / task.dataset / encode_symbol(task.symbol) / task.month
        record = LandingRecord(
            SOURCE, task.dataset, task.symbol, task.month, "landed", task.first_day, task.last_day
        )
        arrow: dict[str, Path] = {}

        async def read(file: RemoteFile) -> DecodeResult:
            out = folder / f"{file.period}.arrow"
            result = await self._read(file, task, folder, out)
            record.files.append(result.record)
            if result.record.outcome == "landed":
                arrow[file.period] = out
            return result

        wanted = dict(task.daily)
        if task.monthly:
            result = await read(task.monthly)
            if result.record.outcome == "landed":
                record.deficient_days = short_days(
                    result.rows_by_day, spec, task.month, utc_today()
                )
                wanted = {d: f for d, f in wanted.items() if d in record.deficient_days}
            elif task.previous and task.month in held:  # the month as it was landed before stays
                short = task.previous.deficient_days
                wanted = {d: f for d, f in wanted.items() if d in short}
        unchanged = {
            day
            for day, file in wanted.items()
            if day in held
            and (held[day].etag, held[day].checksum_etag) == (file.etag, file.checksum_etag)
        }
        await asyncio.gather(*(read(f) for d, f in wanted.items() if d not in unchanged))

        monthly = arrow.pop(task.month, None)
        keep = _days_to_keep(task, held, record, monthly is not None) - arrow.keys()
        record.files += [
            replace(f, carried=True)
            for period, f in sorted(held.items())
            if period in keep or (period == task.month and monthly is None)
        ]
        record.files.sort(key=lambda f: f.period)
        if monthly or arrow:
            record = await self._commit(record, monthly, arrow, keep)
        else:
            self._note(_nothing_new(record, task.previous))
        for path in folder.glob("*.arrow"):
            path.unlink()
        with contextlib.suppress(OSError):  # an unfinished download stays, to be resumed
            folder.rmdir()
        return record

    async def _commit(
        self, record: LandingRecord, monthly: Path | None, daily: dict[str, Path], keep: set[str]
    ) -> LandingRecord:
        loop = asyncio.get_running_loop()
        done = loop.run_in_executor(self.pool, assemble, self.lake, record, monthly, daily, keep)
        try:
            committed = await asyncio.shield(done)
        except asyncio.CancelledError:  # the file will be replaced; its log line must follow
            self._note(await done)
            raise
        self._note(committed)
        return committed

    async def _read(self, file: RemoteFile, task: Task, folder: Path, out: Path) -> DecodeResult:
        """Download, verify and decode one file; whatever happens becomes its record."""
        record = FileRecord(
            url=self.archive.url(file.key),
            period=file.period,
            outcome="failed",
            etag=file.etag,
            checksum_etag=file.checksum_etag,
            last_modified=file.last_modified,
            bytes=file.bytes,
        )
        raw: Path | None = None
        try:
            got = await self.archive.download(file, folder)
        except NotFound:
            record.outcome, record.error = "absent_upstream", "HTTP 404"
        except ChecksumMismatch as error:
            raw = error.path
            record.outcome, record.error = "quarantined", str(error)
            record.sha256_actual, record.sha256_expected = error.actual, error.expected
            record.attempts = error.attempts
        except Quarantine as error:
            record.outcome, record.error = "quarantined", str(error)
        except Failed as error:
            record.error, record.attempts = str(error), error.attempts
        else:
            raw = got.path
            record.bytes, record.attempts = got.bytes, got.attempts
            record.sha256_actual, record.sha256_expected = got.sha256, got.sha256_expected
            loop = asyncio.get_running_loop()
            result = await loop.run_in_executor(
                self.pool, decode_file, raw, out, task.dataset, task.symbol, record
            )
            self._put_away(raw, file, result.record)
            return result
        self._put_away(raw, file, record)
        return DecodeResult(record)

    def _put_away(self, raw: Path | None, file: RemoteFile, record: FileRecord) -> None:
        """Keep a quarantined zip for inspection, and any zip on request; drop the others."""
        if record.outcome == "quarantined":
            record.error = f"{file.key}: {record.error}"
            if raw:
                target = self.lake.quarantine / file.key
                record.error += f"; kept as {target}"
        elif record.outcome == "failed":
            record.error = f"{file.key}: {record.error}"
        if raw is None:
            return
        if record.outcome == "quarantined" or self.options.keep_raw:
            folder = self.lake.quarantine if record.outcome == "quarantined" else self.lake.raw
            target = folder / file.key
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(raw, target)
        else:
            raw.unlink(missing_ok=True)
        discard_part(raw.with_name(f"{raw.name}.part"))

    def _note(self, record: LandingRecord) -> None:
        """Write the log line and count it."""
        self.log.append(record)
        self.summary.partitions[record.status] += 1
        self.summary.rows += record.rows_out
        for file in record.files:
            if file.carried:
                continue
            self.summary.files[file.outcome] += 1
            if file.outcome in ("quarantined", "failed"):
                self.summary.problems.append(f"{file.outcome}: {file.error}")
                self.progress.note(f"{file.outcome}: {file.error}")


def _days_to_keep(
    task: Task, held: dict[str, FileRecord], record: LandingRecord, has_month: bool
) -> set[str]:
    """Days whose rows stay as the partition has them, unless a new daily file brings them."""
    if has_month:
        return {d for d in record.deficient_days if d in held}
    if task.month in held:
        record.deficient_days = task.previous.deficient_days if task.previous else []
        return set(days(task.month))
    return {period for period in held if len(period) == 10}


def _nothing_new(record: LandingRecord, previous: LandingRecord | None) -> LandingRecord:
    """An attempt that brought no rows: say why, and stand by what the partition already holds."""
    outcomes = {f.outcome for f in record.files if not f.carried}
    order: tuple[Status, ...] = ("failed", "quarantined", "absent_upstream")
    record.status = next((s for s in order if s in outcomes), "absent_upstream")
    record.error = "; ".join(f.error for f in record.files if f.error and not f.carried) or None
    if previous is not None:
        for name in (
            "rows_out", "first_time", "last_time", "gaps", "parquet_bytes", "parquet_sha256",
        ):  # fmt: skip
            setattr(record, name, getattr(previous, name))
    return record


def _init_worker(parent: int) -> None:
    """Leave Ctrl-C to the parent, and end when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
