"""Carry out a plan: concurrent downloads, decoding in workers, one log line per partition."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import multiprocessing
import os
import shutil
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Protocol, TypeVar

from ingest.config import Config, origin
from ingest.datasets import VISION
from ingest.errors import PerpError, Quarantine
from ingest.lake import (
    Claims,
    FileRecord,
    Key,
    Lake,
    LandingLog,
    LandingRecord,
    LandingState,
    Status,
)
from ingest.names import days
from ingest.partition import DecodeResult, assemble, decode_file, decoded_before
from ingest.plan import Plan, Planner, Task, Upstream
from ingest.progress import Progress
from ingest.sources.downloads import Failed, NotFound, Retry, discard_part
from ingest.sources.vision import ChecksumMismatch, RemoteFile, VisionArchive
from ingest.worker import begin

SOURCE = "vision"
T = TypeVar("T")
_CONCURRENT_PARTITIONS = 12
_WORKER_DEATHS = 3  # that one piece of work may cause
_LOOK_AGAIN_SECONDS = 0.5


@dataclass(frozen=True)
class Options:
    """How to carry out an ingest.

    Args:
        only: partitions to look at, with the first and the last day to ask for in each; all that
            the other arguments name if it is empty.
    """

    connections: int = 8
    workers: int = 2
    retry: Retry = field(default_factory=Retry)
    keep_raw: bool = False
    retry_quarantined: bool = False
    keep_ticks: bool = False
    only: Mapping[Key, tuple[date, date]] = field(default_factory=dict)


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
    by_others: int = 0  # landed by other perp processes meanwhile
    requests: int = 0  # to an API
    waited: float = 0.0  # seconds, for the API's request limits

    @property
    def asked(self) -> str:
        """How much an API was asked, for people."""
        waiting = f" ({self.waited:,.0f} s waiting for its limits)" if self.waited >= 1 else ""
        return f"{self.requests:,} requests{waiting}"

    @property
    def ok(self) -> bool:
        """True if nothing failed and nothing was quarantined in this run."""
        return not self.problems

    def add(self, record: LandingRecord) -> list[str]:
        """Count what became of a partition; returns the problems that nothing else has had yet."""
        self.partitions[record.status] += 1
        self.rows += record.rows_out
        new = []
        for file in record.files:
            if file.carried:
                self.known_bad += file.outcome == "quarantined"
                continue
            self.files[file.outcome] += 1
            problem = f"{file.outcome}: {file.error}"
            if file.outcome in ("quarantined", "failed") and problem not in self.problems:
                self.problems.append(problem)
                new.append(problem)
        return new


async def list_upstream(
    archive: VisionArchive, pairs: Collection[tuple[str, str]], start: date
) -> dict[tuple[str, str], Upstream]:
    """List the files of every (dataset, symbol) from the month of ``start`` on."""
    month = start.strftime("%Y-%m")

    async def one(dataset: str, symbol: str) -> Upstream:
        spec = VISION[dataset]
        name_start = spec.file_name(symbol, "").removesuffix(".zip")
        found: dict[str, dict[str, RemoteFile]] = {"monthly": {}, "daily": {}}
        for cadence in spec.cadences:
            for prefix in spec.prefixes(cadence, symbol):
                for file in await archive.files(prefix, name_start, month):
                    found[cadence].setdefault(file.period, file)
        return Upstream(found["monthly"], found["daily"])

    upstream = {pair: Upstream() for pair in pairs}  # keeps the order that was asked for
    with Progress("list", len(pairs), "directories") as progress:

        async def work(pair: tuple[str, str]) -> None:
            upstream[pair] = await one(*pair)
            progress.finish_one()

        await each(pairs, work, archive.connections)
    return upstream


async def each(items: Iterable[T], work: Callable[[T], Awaitable[None]], at_once: int) -> None:
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


class HasKey(Protocol):
    """Work on one partition."""

    @property
    def key(self) -> Key:
        """The partition."""
        ...


K = TypeVar("K", bound=HasKey)


async def each_claimed(
    tasks: Iterable[K], work: Callable[[K], Awaitable[None]], claims: Claims, progress: Progress
) -> None:
    """Do the work for every partition that no other process has, then for those that they leave."""
    elsewhere: list[K] = []

    async def claimed(task: K) -> None:
        if not claims.take(task.key):
            elsewhere.append(task)
            return
        try:
            await work(task)
        finally:
            claims.release(task.key)
        progress.finish_one()

    await each(tasks, claimed, _CONCURRENT_PARTITIONS)
    if elsewhere:
        progress.note(
            f"{len(elsewhere)} partitions are being landed by other perp processes; "
            "waiting, to take over what they leave"
        )
    while elsewhere:
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        waiting = elsewhere.copy()
        elsewhere.clear()
        await each(waiting, claimed, _CONCURRENT_PARTITIONS)


@contextlib.contextmanager
def writing(lake: Lake, kept: str = "what has landed stays") -> Iterator[None]:
    """Turn what the disk objects to into a PerpError that says what to do, and what is kept."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise PerpError(
                f"no space left for the lake {lake.root}; free some and run the same command "
                f"again: {kept}"
            ) from error
        raise PerpError(f"cannot write the lake {lake.root}: {error}; {kept}") from error


async def known_symbols(archive: VisionArchive) -> set[str]:
    """Every contract that the archive has kline files for."""
    spec = VISION["klines_1m"]
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
    lake.prepare(origin(config.archive_url))
    with lake.shared(SOURCE) as claims:
        return asyncio.run(
            _ingest(config, lake, claims, datasets, symbols, start, end, options, dry_run)
        )


async def _ingest(
    config: Config,
    lake: Lake,
    claims: Claims,
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
            pairs = [(d, s) for s in symbols for d in datasets]
            if options.only:
                pairs = [p for p in pairs if p in {key[:2] for key in options.only}]
            upstream = await list_upstream(archive, pairs, start)
        except (Failed, NotFound) as error:
            raise PerpError(
                f"cannot list {config.listing_url}: {error or 'not found'}; check the connection "
                "and PERP_ARCHIVE_LISTING_URL, then run this command again"
            ) from error
        planner = Planner(
            upstream,
            start,
            end,
            lake.is_intact,
            options.retry_quarantined,
            options.keep_ticks,
            options.only,
        )
        state = LandingState(lake.log_folder, SOURCE)
        plan = planner.plan(state.refresh())
        if dry_run:
            return plan, Summary(up_to_date=plan.up_to_date)
        weight = sum(task.bytes for task in plan.tasks)
        with (
            contextlib.closing(LandingLog(lake.log_folder, SOURCE)) as log,
            Progress("ingest", len(plan.tasks), "partitions", weight) as progress,
            contextlib.closing(_Workers(options.workers, progress)) as workers,
        ):
            run = _Runner(lake, archive, options, log, workers, progress, claims, planner, state)
            return plan, await run.run(plan)


class WorkersDied(PerpError):
    """A piece of work that no worker process has survived."""


class _Workers:
    """Processes that decode and assemble. A job whose process dies is done again by another."""

    def __init__(self, count: int, progress: Progress) -> None:
        self._count, self._progress = count, progress
        self._alone = asyncio.Lock()
        os.environ.setdefault("POLARS_MAX_THREADS", "1")  # inherited: the processes are the threads
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        receiving, self._sending = context.Pipe(duplex=False)
        self._progress.listen(receiving)
        self._pool = ProcessPoolExecutor(self._count, context, begin, (os.getpid(), self._sending))

    async def call(self, job: Callable[..., T], *arguments: object) -> T:
        """Run a job in a process. It may be run again from the start, so it must be repeatable.

        A process that dies takes all jobs of the pool with it. They are tried again one by one, so
        that the one that kills is found. Raises WorkersDied for that one.
        """
        with contextlib.suppress(BrokenProcessPool):
            return await self._once(job, *arguments)
        async with self._alone:
            for _ in range(_WORKER_DEATHS - 1):
                with contextlib.suppress(BrokenProcessPool):
                    return await self._once(job, *arguments)
        raise WorkersDied(f"its worker process died {_WORKER_DEATHS} times (out of memory?)")

    async def _once(self, job: Callable[..., T], *arguments: object) -> T:
        pool = self._pool
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, job, *arguments)
        except BrokenProcessPool:
            if pool is self._pool:
                self._progress.note("a worker process died; its work is done again")
                self.close()
                self._start()
            raise

    def close(self) -> None:
        """End the processes at once. What they have not committed, the next run does again."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        self._pool.shutdown()
        self._sending.close()


class _Runner:
    """One run of a plan: its lake and log, its workers, and what other runs leave to it."""

    def __init__(
        self,
        lake: Lake,
        archive: VisionArchive,
        options: Options,
        log: LandingLog,
        workers: _Workers,
        progress: Progress,
        claims: Claims,
        planner: Planner,
        state: LandingState,
    ) -> None:
        self.lake, self.archive, self.options = lake, archive, options
        self.log, self.workers, self.progress = log, workers, progress
        self.claims, self.planner, self.state = claims, planner, state
        self.summary = Summary()
        archive.on_bytes = progress.add_bytes

    async def run(self, plan: Plan) -> Summary:
        self.summary.up_to_date = plan.up_to_date
        self.summary.known_bad = len(plan.known_bad)
        state = self.state.refresh()
        for fact in plan.facts:
            newest = state.get(fact.key)
            if newest and newest.log_seq != fact.log_seq:
                continue  # another process has been here since
            self.log.append(fact, after=fact.log_seq)
            self.summary.partitions[fact.status] += fact.parquet_bytes is None
        try:
            await each_claimed(plan.tasks, self._work, self.claims, self.progress)
        finally:
            self.summary.seconds = self.progress.seconds
            self.summary.bytes = self.progress.bytes
        return self.summary

    async def _work(self, task: Task) -> None:
        """Land a partition, unless another process has landed it meanwhile."""
        newest = self.state.refresh().get(task.key)
        needed: Task | None = task
        if newest and newest.log_seq != task.seen:
            needed, _ = self.planner.partition(task.key, self.state.records)
        if needed:
            await self._try(needed)
        else:
            self.summary.by_others += 1
            self.progress.add_weight(task.bytes)

    async def _try(self, task: Task) -> None:
        try:
            with writing(self.lake):
                await self._land(task)
        except WorkersDied as error:
            raise PerpError(
                f"{task.dataset} {task.symbol} {task.month}: {error}; run the same command again "
                "with --workers 1: what has landed stays"
            ) from error

    # ---------------------------------------------------------------------------- one partition
    async def _land(self, task: Task) -> None:
        previous = task.previous.files if task.previous else []
        held = {f.period: f for f in previous if f.outcome == "landed"}
        folder = self.lake.downloads(SOURCE, task.key)
        record = LandingRecord(SOURCE, *task.key, "landed", task.first_day, task.last_day)
        fresh: set[str] = set()

        async def read(file: RemoteFile) -> DecodeResult:
            result = await self._read(file, task, folder)
            self.progress.add_weight(file.bytes)
            record.files.append(result.record)
            if result.record.outcome == "landed":
                fresh.add(file.period)
            return result

        wanted = dict(task.daily)
        if task.monthly:
            result = await read(task.monthly)
            if result.record.outcome == "landed":
                record.deficient_days = result.deficient_days
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
        bad = {p for p in task.known_bad if p in wanted or (p == task.month and not task.monthly)}
        await asyncio.gather(*(read(f) for d, f in wanted.items() if d not in unchanged | bad))

        month = task.month in fresh
        daily = fresh - {task.month}
        keep = _days_to_keep(task, held, record, month) - daily
        record.files += [
            replace(f, carried=True)
            for period, f in sorted(held.items())
            if period in keep or (period == task.month and not month)
        ]
        record.files += [replace(task.known_bad[period], carried=True) for period in bad]
        record.files.sort(key=lambda f: f.period)
        if fresh:
            await self._commit(record, folder, month, daily, keep, task)
        else:
            self._note(nothing_new(record, task.previous), task)
        clear(folder)

    async def _commit(
        self,
        record: LandingRecord,
        folder: Path,
        month: bool,
        daily: set[str],
        keep: set[str],
        task: Task,
    ) -> None:
        done = asyncio.ensure_future(
            self.workers.call(assemble, self.lake, record, folder, month, daily, keep, task.also)
        )
        try:
            committed = await asyncio.shield(done)
        except asyncio.CancelledError:  # the files will be replaced; their log lines must follow
            for each in await done:
                self._note(each, task)
            raise
        for each in committed:
            self._note(each, task)

    async def _read(self, file: RemoteFile, task: Task, folder: Path) -> DecodeResult:
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
        if before := decoded_before(folder, task.dataset, record, task.also):
            return before
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
            try:
                result = await self.workers.call(
                    decode_file, raw, folder, task.dataset, task.symbol, record, task.also
                )
            except WorkersDied as error:
                record.error = f"{error}; try it alone, with --workers 1"
                result = DecodeResult(record)
            self.progress.finish_file(raw.name, result.record.rows_in or 0)
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
            self.lake.store.put(raw, folder / file.key)
        else:
            raw.unlink(missing_ok=True)
        discard_part(raw.with_name(f"{raw.name}.part"))

    def _note(self, record: LandingRecord, task: Task) -> None:
        """Write the log line and count it."""
        self.log.append(record, after=task.seen)
        if record.dataset != task.dataset:  # made with it: counted once
            return
        for problem in self.summary.add(record):
            self.progress.note(problem)


def clear(folder: Path) -> None:
    """Remove what a partition was made from; an unfinished download stays, to be resumed."""
    for path in folder.glob("*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix not in (".part", ".etag"):
            path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()


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


def nothing_new(record: LandingRecord, previous: LandingRecord | None) -> LandingRecord:
    """An attempt that brought no rows: say why, and stand by what the partition already holds."""
    told = [f for f in record.files if not f.carried or f.outcome == "quarantined"]
    outcomes = {f.outcome for f in told}
    order: tuple[Status, ...] = ("failed", "quarantined", "absent_upstream")
    record.status = next((s for s in order if s in outcomes), "absent_upstream")
    record.error = "; ".join(f.error for f in told if f.error) or None
    if previous is not None:
        for name in (
            "rows_out", "first_time", "last_time", "gaps", "bad_rows", "missing_ids",
            "uncovered_days", "parquet_bytes", "parquet_sha256",
        ):  # fmt: skip
            setattr(record, name, getattr(previous, name))
    return record
