"""Pull from the exchange's API what neither the archive nor an earlier pull has brought.

A partition is a month of a series. What to ask for is the month, as far as it lies in the days
asked for and in the past, without the moments that the archive's partition holds and without those
that the API has answered for before.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.config import Config, origin
from ingest.datasets import MARKET, METRICS_START_LABELS_FROM
from ingest.errors import PerpError
from ingest.lake import Claims, FileRecord, Key, Lake, LandingLog, LandingRecord, LandingState
from ingest.merge import merge_into
from ingest.names import month_bounds, months, unknown_symbol
from ingest.progress import Progress
from ingest.run import Summary, each, each_claimed, writing
from ingest.sources.binance_api import (
    ENDPOINTS,
    BinanceApi,
    Endpoint,
    Limits,
    exchange_info_table,
    funding_info_table,
    open_interest_table,
    premium_index_table,
)
from ingest.sources.downloads import Failed, Retry
from ingest.spans import Span, clip, from_log, to_log, union_spans, without
from ingest.store import store_of

SOURCE = "api"
SNAPSHOTS = ("exchange_info", "funding_info", "premium_index", "open_interest")
DAYS_BACK = 30  # what open interest and ratios reach back

# Archive columns that hold the same values as a series; a 0 in one of them is a missing value.
_IN_METRICS = {
    "open_interest_5m": ("sum_open_interest", True),
    "top_position_ratio_5m": ("sum_toptrader_long_short_ratio", True),
    "top_account_ratio_5m": ("count_toptrader_long_short_ratio", True),
    "global_account_ratio_5m": ("count_long_short_ratio", True),
    "taker_ratio_5m": ("sum_taker_long_short_vol_ratio", False),
}


@dataclass(frozen=True)
class Options:
    """How to carry out a pull.

    Args:
        overlap: ask also for what the archive holds, so that the two can be compared.
        whole_hours: ask up to the last closed hour only, and take one snapshot an hour, so that
            asking again within the hour brings nothing.
        only: partitions to ask for, with the first and the last day of each; all that the other
            arguments name if it is empty.
    """

    connections: int = 4
    retry: Retry = field(default_factory=Retry)
    limits: Limits = field(default_factory=Limits)
    overlap: bool = False
    whole_hours: bool = False
    only: Mapping[Key, tuple[date, date]] = field(default_factory=dict)


@dataclass(frozen=True)
class Pull:
    """Moments of one partition to ask for."""

    dataset: str
    symbol: str
    month: str
    spans: tuple[Span, ...]

    @property
    def key(self) -> Key:
        """(dataset, symbol, month)."""
        return self.dataset, self.symbol, self.month

    @property
    def requests(self) -> int:
        """Requests that it takes, where the number of rows is known."""
        endpoint = ENDPOINTS[self.dataset]
        return sum(len(pages(endpoint, span)) for span in self.spans)


def pages(endpoint: Endpoint, span: Span) -> list[Span]:
    """Spans of one request each."""
    grain = endpoint.dataset.grain_minutes
    if grain is None:
        return [span]
    step = timedelta(minutes=grain * endpoint.page)
    start, end = span
    result = []
    while start < end:
        result.append((start, min(start + step, end)))
        start += step
    return result


def plan(
    datasets: Iterable[str],
    symbols: Iterable[str],
    start: datetime,
    end: datetime,
    now: datetime,
    *,
    listed: Mapping[str, datetime | None],
    archived: Callable[[str, str, str], Sequence[Span]],
    answered: Callable[[Key], Sequence[Span]],
    through: datetime | None = None,
) -> list[Pull]:
    """What to ask for; a pure function.

    Args:
        start, end: moments asked for, [start, end).
        now: the exchange's clock. What it has not closed yet is not asked for.
        through: what ends after it is not asked for either.
        listed: when each contract was listed; before that there is nothing.
        archived: moments that the archive's partition of a series holds.
        answered: moments that the API has answered for.
    """
    pulls = []
    for dataset in datasets:
        endpoint = ENDPOINTS[dataset]
        grain = timedelta(minutes=endpoint.dataset.grain_minutes or 1)
        closed = _floor(now, grain)
        # A label at the end of its period, as in the five-minute series, may be that of `now`.
        last = min(end, closed + grain if endpoint.bucket == "data" else closed)
        if through:  # a settlement belongs to the hour that it ends
            has_bars = endpoint.dataset.grain_minutes and endpoint.bucket != "data"
            last = min(last, through if has_bars else through + grain)
        first = start
        if endpoint.reach:
            first = max(first, _floor(now - endpoint.reach, grain) + 2 * grain)
        for symbol in symbols:
            since = max(first, listed.get(symbol) or first)
            if since >= last:
                continue
            for month in months(since.date(), (last - timedelta(microseconds=1)).date()):
                bounds = [datetime.combine(day, datetime.min.time()) for day in month_bounds(month)]
                wanted = clip([(since, last)], bounds[0], bounds[1])
                wanted = without(wanted, answered((dataset, symbol, month)))
                if wanted:
                    wanted = without(wanted, archived(dataset, symbol, month))
                if wanted:
                    pulls.append(Pull(dataset, symbol, month, tuple(wanted)))
    return sorted(pulls, key=lambda p: (p.symbol, p.month, p.dataset))


class Holdings:
    """What the archive's partitions of a lake hold, as spans of time."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._records = lake.state("vision")
        self._of_metrics: dict[PurePath, dict[str, list[Span]]] = {}

    def spans(self, dataset: str, symbol: str, month: str) -> list[Span]:
        """Moments of a series that the archive has brought."""
        archived = "metrics" if dataset in _IN_METRICS else dataset
        record = self._records.get((archived, symbol, month))
        if record is None or not record.rows_out or not self._lake.is_intact(record):
            return []
        if dataset == "funding_rate":
            start = datetime.combine(month_bounds(month)[0], datetime.min.time())
            return [(start, _moment(record.last_time) + timedelta(minutes=1))]
        grain = timedelta(minutes=record.spec.grain_minutes or 1)
        path = self._lake.partition_of(record)
        if dataset in _IN_METRICS:
            if path not in self._of_metrics:  # one look serves all series of the file
                labels = _metrics_labels(path)
                self._of_metrics[path] = {name: _runs(x, grain) for name, x in labels.items()}
            return self._of_metrics[path][dataset]
        if record.gaps == 0:
            return [(_moment(record.first_time), _moment(record.last_time) + grain)]
        column = record.spec.time_column
        return _runs(_read(path, [column])[column], grain)


def _runs(slots: pa.ChunkedArray, grain: timedelta) -> list[Span]:
    """Spans of the moments from each time on that lie no more than a grain apart."""
    floored = pc.floor_temporal(slots, multiple=grain // _MINUTE, unit="minute")
    # Sorted, not made unique: equal neighbours break no run, and looking for them takes longer.
    held = np.sort(floored.drop_null().to_numpy().astype("datetime64[us]"))
    if not held.size:
        return []
    breaks = np.flatnonzero(np.diff(held) > np.timedelta64(grain))
    starts, ends = held[[0, *breaks + 1]], held[[*breaks, -1]] + np.timedelta64(grain)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _read(path: PurePath, columns: list[str]) -> pa.Table:
    with store_of(path).parquet(path) as file:
        return file.read(columns, use_threads=False)


def _metrics_labels(path: PurePath) -> dict[str, pa.ChunkedArray]:
    """Ends of the five minutes for which a metrics partition has a value, by series."""
    columns = [column for column, _ in _IN_METRICS.values()]
    table = _read(path, ["create_time", "file_date", *columns])
    labels = table["create_time"]
    labels = pc.if_else(
        pc.greater_equal(table["file_date"], METRICS_START_LABELS_FROM),
        pc.add(labels, timedelta(minutes=5)),
        labels,
    )
    result = {}
    for dataset, (column, zero_is_missing) in _IN_METRICS.items():
        known = pc.is_valid(table[column])
        if zero_is_missing:
            known = pc.and_(known, pc.greater(pc.fill_null(table[column], 0), 0))
        result[dataset] = labels.filter(known)
    return result


def ingest_api(
    config: Config,
    datasets: Sequence[str],
    symbols: Sequence[str] | None,
    start: date | None,
    end: date | None,
    options: Options,
    *,
    default_symbols: Sequence[str] = (),
    dry_run: bool = False,
) -> tuple[list[Pull], Summary]:
    """Land what the API has of these datasets, from ``start`` or 30 days ago to ``end`` or now.

    Args:
        symbols: contracts; UsageError for one that the exchange does not know.
        default_symbols: contracts where none are given; those that the exchange no longer lists
            are left out.

    Raises UsageError or PerpError; failures of single partitions are in the summary and the log.
    """
    lake = Lake(config.lake)
    lake.prepare(origin(config.api_url))
    with lake.shared(SOURCE) as claims:
        run = _Run(lake, claims, options, dry_run)
        return asyncio.run(run.run(config, datasets, symbols, default_symbols, start, end))


class _Run:
    def __init__(self, lake: Lake, claims: Claims, options: Options, dry_run: bool) -> None:
        self.lake, self.claims, self.options, self.dry_run = lake, claims, options, dry_run
        self.state = LandingState(lake.log_folder, SOURCE)
        self.summary = Summary()

    async def run(
        self,
        config: Config,
        datasets: Sequence[str],
        symbols: Sequence[str] | None,
        default_symbols: Sequence[str],
        start: date | None,
        end: date | None,
    ) -> tuple[list[Pull], Summary]:
        loop = asyncio.get_running_loop()
        if current := asyncio.current_task():
            loop.add_signal_handler(signal.SIGTERM, current.cancel)
        options = self.options
        async with BinanceApi(
            config.api_url,
            connections=options.connections,
            retry=options.retry,
            limits=options.limits,
        ) as api:
            try:
                now = await api.server_time()
                info = await api.get("fapiPublicGetExchangeInfo", {}, expect=dict)
                contracts = exchange_info_table(info, now)
            except Failed as error:
                raise PerpError(
                    f"cannot ask {config.api_url}: {error}; check the connection and "
                    "PERP_API_URL, then run this command again"
                ) from error
            listed = dict(
                zip(contracts["contract"].to_pylist(), contracts["onboard_date"].to_pylist(),
                    strict=True)
            )  # fmt: skip
            chosen = _chosen(symbols, default_symbols, listed)
            self.state.refresh()
            holdings = Holdings(self.lake)
            since = start or now.date() - timedelta(days=DAYS_BACK)
            until = datetime.combine(end or now.date(), datetime.min.time()) + _DAY
            pulls = plan(
                [d for d in datasets if d in ENDPOINTS],
                chosen,
                datetime.combine(since, datetime.min.time()),
                until,
                now,
                listed=listed,
                archived=(lambda *_: ()) if options.overlap else holdings.spans,
                answered=self._answered,
                through=_floor(now, _HOUR) if options.whole_hours else None,
            )
            if options.only:
                pulls = [cut for pull in pulls if (cut := _within(pull, options.only))]
            if self.dry_run:
                return pulls, self.summary
            wanted = [d for d in SNAPSHOTS if d in datasets and not self._is_recent(d, now)]
            with (
                contextlib.closing(LandingLog(self.lake.log_folder, SOURCE)) as log,
                Progress(
                    "api", len(pulls), "partitions", sum(p.requests for p in pulls)
                ) as progress,
                writing(self.lake),
            ):
                self.log, self.progress, self.api, self.now = log, progress, api, now
                if gone := sorted(set(symbols or default_symbols) - set(listed)):
                    progress.note(f"left out, the exchange does not list them: {', '.join(gone)}")
                try:
                    await self._snapshots(wanted, contracts, chosen)
                    await each_claimed(pulls, self._pull, self.claims, progress)
                finally:
                    self.summary.seconds = progress.seconds
                    self.summary.requests, self.summary.waited = api.requests, api.waited
        return pulls, self.summary

    def _answered(self, key: Key) -> list[Span]:
        record = self.state.records.get(key)
        if record is None or not self.lake.is_intact(record):
            return []
        return from_log(record.covered)

    def _is_recent(self, dataset: str, now: datetime) -> bool:
        """True if this hour has its snapshot, where one is enough."""
        record = self.state.records.get((dataset, MARKET, f"{now:%Y-%m}"))
        if not self.options.whole_hours or record is None or not self.lake.is_intact(record):
            return False
        last = record.last_time if record.status == "landed" else None
        return last is not None and _moment(last) >= _floor(now, _HOUR)

    # ------------------------------------------------------------------------------- snapshots
    async def _snapshots(
        self, wanted: Sequence[str], contracts: pa.Table, symbols: Sequence[str]
    ) -> None:
        month = f"{self.now:%Y-%m}"

        async def open_interest() -> pa.Table:
            bodies: list[Any] = []

            async def ask(symbol: str) -> None:
                params = {"symbol": symbol}
                try:
                    body = await self.api.get("fapiPublicGetOpenInterest", params, expect=dict)
                except Failed as error:  # of a contract that is being settled, say
                    self.summary.problems.append(f"failed: open_interest {symbol}: {error}")
                    self.progress.note(self.summary.problems[-1])
                else:
                    bodies.append(body)

            await each(symbols, ask, self.options.connections)
            return open_interest_table(bodies, self.now)

        async def funding_info() -> pa.Table:
            body = await self.api.get("fapiPublicGetFundingInfo", {}, bucket="funding")
            return funding_info_table(body, self.now)

        async def premium_index() -> pa.Table:
            body = await self.api.get("fapiPublicGetPremiumIndex", {}, weight=10)
            return premium_index_table(body, self.now)

        async def exchange_info() -> pa.Table:
            return contracts

        ask_for = {
            "exchange_info": exchange_info,
            "funding_info": funding_info,
            "premium_index": premium_index,
            "open_interest": open_interest,
        }
        for dataset in wanted:
            key = dataset, MARKET, month
            if not self.claims.take(key):
                self.summary.by_others += 1  # another process is looking at the same moment
                continue
            record = self._record(key, [(self.now, self.now)])
            try:
                self._commit(record, await ask_for[dataset](), [], None)
            except Failed as error:
                self._commit(record, None, [], error)
            finally:
                self.claims.release(key)

    # ------------------------------------------------------------------------------ partitions
    async def _pull(self, pull: Pull) -> None:
        """Ask for what a partition lacks; what has been answered is landed whatever follows."""
        endpoint = ENDPOINTS[pull.dataset]
        tables: list[pa.Table] = []
        answered: list[Span] = []
        failure: Failed | None = None
        self.state.refresh()
        spans = without(pull.spans, self._answered(pull.key))
        if not spans:
            self.summary.by_others += 1
            return
        try:
            for span in spans:
                for page in pages(endpoint, span):
                    await self._page(endpoint, pull.symbol, page, tables, answered)
                    self.progress.add_weight(1)
        except Failed as error:
            failure = error
        finally:
            if answered or failure:
                rows = pa.concat_tables(tables or [endpoint.dataset.schema.empty_table()])
                self._commit(self._record(pull.key, spans), rows, answered, failure)

    async def _page(
        self,
        endpoint: Endpoint,
        symbol: str,
        span: Span,
        tables: list[pa.Table],
        answered: list[Span],
    ) -> None:
        """Rows of a span; where one answer is full, those that follow it too."""
        start, end = span
        time_column = endpoint.dataset.time_column
        while start < end:
            rows = await self.api.rows(endpoint, symbol, start, end)
            table = self._closed(endpoint, endpoint.table(rows))
            times = table[time_column]
            inside = pc.and_(pc.greater_equal(times, start), pc.less(times, end))
            table = table.filter(inside)
            tables.append(table)
            self.progress.add_rows(table.num_rows)
            last = pc.max(table[time_column]).as_py() if table.num_rows else None
            is_full = len(rows) >= endpoint.page and last is not None and last > start
            grain = timedelta(minutes=endpoint.dataset.grain_minutes or 0)
            through = last + max(grain, _MILLISECOND) if last else start
            # What may still appear is not answered yet.
            settled = self.now - endpoint.lateness
            if self.options.whole_hours:  # does not move within the hour
                settled = min(settled, _floor(settled, _HOUR) + _MINUTE)
            sure = through if is_full else max(through, min(end, settled))
            if sure > start:
                answered.append((start, sure))
            if not is_full:
                return
            start = through

    def _closed(self, endpoint: Endpoint, table: pa.Table) -> pa.Table:
        """Without the candle that is still open."""
        if "close_time" not in table.schema.names:
            return table
        return table.filter(pc.less(table["close_time"], pa.scalar(self.now, pa.timestamp("us"))))

    # ------------------------------------------------------------------------------ the record
    def _record(self, key: Key, spans: Sequence[Span]) -> LandingRecord:
        previous = self.state.records.get(key)
        asked = [d for a, b in spans for d in (a.date(), max(a, b - _MILLISECOND).date())]
        if previous:
            asked += [date.fromisoformat(previous.first_day), date.fromisoformat(previous.last_day)]
        return LandingRecord(
            SOURCE, *key, "landed", min(asked).isoformat(), max(asked).isoformat(),
            covered=to_log(self._answered(key)),
        )  # fmt: skip

    def _commit(
        self,
        record: LandingRecord,
        rows: pa.Table | None,
        answered: Sequence[Span],
        failure: Failed | None,
    ) -> None:
        previous = self.state.records.get(record.key)
        file = FileRecord(
            url=f"{self.api.api_url}: {record.dataset}",
            period=record.month,
            outcome="failed" if failure else "landed",
            rows_in=rows.num_rows if rows is not None else 0,
            error=f"{record.dataset} {record.symbol} {record.month}: {failure}"
            if failure
            else None,
            attempts=failure.attempts if failure else 1,
        )
        record.files = [file]
        record.error = file.error
        if rows is not None and (answered or not failure):
            record.covered = to_log(union_spans([*from_log(record.covered), *answered]))
            merge_into(self.lake, record, rows, prefer="new")
            file.rows_out = record.rows_out
        elif previous:
            record.status = "failed"
            for name in ("rows_out", "first_time", "last_time", "parquet_bytes", "parquet_sha256"):
                setattr(record, name, getattr(previous, name))
        else:
            record.status = "failed"
        self.log.append(record, after=previous.log_seq if previous else "")
        for problem in self.summary.add(record):
            self.progress.note(problem)


def _within(pull: Pull, only: Mapping[Key, tuple[date, date]]) -> Pull | None:
    """What of a pull lies in the days that are to be asked for, if anything."""
    if pull.key not in only:
        return None
    first, last = (datetime.combine(day, datetime.min.time()) for day in only[pull.key])
    spans = clip(pull.spans, first, last + _DAY)
    return replace(pull, spans=tuple(spans)) if spans else None


_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)
_MILLISECOND = timedelta(milliseconds=1)


def _moment(logged: str | None) -> datetime:
    return datetime.fromisoformat(str(logged))


def _floor(moment: datetime, grain: timedelta) -> datetime:
    return moment - (moment - datetime.min) % grain


def _chosen(
    symbols: Sequence[str] | None,
    default_symbols: Sequence[str],
    listed: Mapping[str, datetime | None],
) -> list[str]:
    if symbols is None:
        return [s for s in default_symbols if s in listed]
    for symbol in symbols:
        if symbol not in listed:
            raise unknown_symbol(symbol, listed, "the exchange lists")
    return list(symbols)
