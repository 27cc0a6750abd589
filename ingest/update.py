"""Bring everything up to now: archive, API, warehouse, published version.

Every step is the one that its own command takes. A step that fails does not keep the others from
their work: an API that is down costs the last hours, not the day.
"""

from __future__ import annotations

import contextlib
import fcntl
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from ingest.builds import reason_to_build
from ingest.config import Config
from ingest.datasets import API, own_files
from ingest.dbt import run_dbt
from ingest.errors import PerpError, UsageError
from ingest.lake import Key, Lake, LandingRecord
from ingest.names import month_bounds, unknown_symbol
from ingest.partition import utc_today
from ingest.publish import publish
from ingest.run import Options, Summary, ingest_archive
from ingest.universe import default_symbols


@dataclass(frozen=True)
class Step:
    """What one step of an update came to."""

    name: str
    text: str
    ok: bool
    seconds: float


@dataclass(frozen=True)
class Work:
    """Series of the archive to go on with from the same day."""

    start: date
    datasets: tuple[str, ...]
    symbols: tuple[str, ...]


def update(
    config: Config,
    *,
    symbols: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    keep: int = 3,
    publishing: bool = True,
    options: Options | None = None,
    today: date | None = None,
    build: Callable[[Config], int] | None = None,
) -> list[Step]:
    """Land what is new, build if anything has landed, publish if the build is clean.

    Args:
        symbols: contracts [default: the universe].
        datasets: of the archive and the API [default: all].
        keep: published versions to keep.
        options: how to ingest the archive.
        today: the day that is not over yet, in UTC.
        build: builds the warehouse; returns 0 if all went well [default: dbt, without the unit
            tests, which say nothing about data].

    Raises UsageError if the lake is not fit for an update; what fails else is in the steps.
    """
    lake, options = Lake(config.lake), options or Options()
    with _alone(lake):
        records = lake.state("vision")
        chosen = _symbols(symbols, records, lake)
        end = (today or utc_today()) - timedelta(days=1)
        work = plan_archive(
            records, [d for d in own_files() if not datasets or d in datasets], chosen
        )
        pulled = [d for d in API if not datasets or d in datasets]
        steps = [_step("archive", lambda: _archive(config, work, end, options))]
        steps.append(_step("api", lambda: _api(config, pulled, chosen, options)))
        steps.append(_step("build", lambda: _build(config, build or _dbt_build)))
        if publishing:
            steps.append(_step("publish", lambda: _publish(config, keep)))
    return steps


def _step(name: str, work: Callable[[], tuple[str, bool]]) -> Step:
    """Do a step; an error of it is what it came to."""
    print(f"update: {name}", file=sys.stderr, flush=True)
    started = time.monotonic()
    try:
        text, ok = work()
    except PerpError as error:
        text, ok = str(error), False
    return Step(name, text, ok, time.monotonic() - started)


# ------------------------------------------------------------------------------------ the archive
def plan_archive(
    records: Mapping[Key, LandingRecord], datasets: Sequence[str], symbols: Sequence[str]
) -> list[Work]:
    """From when to look for files of every series; a pure function.

    A series goes on from the month before the last one of which it knows (monthly files come late),
    or from where an interrupted or failed run left a month out. A series without any record begins
    with the others' last months: its history is for ``perp ingest archive``.
    """
    known: dict[tuple[str, str], dict[str, LandingRecord]] = defaultdict(dict)
    for (dataset, symbol, month), record in records.items():
        known[dataset, symbol][month] = record
    newest = max((month for _, _, month in records), default=None)
    if newest is None:
        return []
    by_start: dict[date, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for dataset in datasets:
        for symbol in symbols:
            series = known.get((dataset, symbol))
            start = _start(series) if series else _month_before(newest)
            by_start[start][dataset].append(symbol)
    work = []
    for start, of_dataset in sorted(by_start.items()):
        alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for dataset, names in of_dataset.items():
            alike[tuple(names)].append(dataset)
        work += [Work(start, tuple(d), names) for names, d in alike.items()]
    return work


def _start(series: Mapping[str, LandingRecord]) -> date:
    first = month = min(series)
    while series[month].status != "failed" and (later := _month_after(month)) in series:
        month = later
    return max(_month_before(month), date.fromisoformat(series[first].first_day or f"{first}-01"))


def _month_before(month: str) -> date:
    return (month_bounds(month)[0] - timedelta(days=1)).replace(day=1)


def _month_after(month: str) -> str:
    return f"{month_bounds(month)[1]:%Y-%m}"


def _symbols(
    given: Sequence[str] | None, records: Mapping[Key, LandingRecord], lake: Lake
) -> list[str]:
    """Contracts to update: those given, or the universe."""
    if not records:
        raise UsageError(
            f"the lake {lake.root} holds nothing of the archive yet, and an update only goes on "
            "from there; begin with: perp ingest archive --start 2024-01-01"
        )
    known = {*default_symbols(), *(symbol for _, symbol, _ in records)}
    for symbol in given or ():
        if symbol not in known:
            raise unknown_symbol(symbol, known, "the universe and the lake have")
    return list(given or default_symbols())


def _archive(config: Config, work: Sequence[Work], end: date, options: Options) -> tuple[str, bool]:
    if not work:
        return "no dataset of the archive was asked for", True
    total = Summary()
    for part in work:
        _, done = ingest_archive(
            config, list(part.datasets), list(part.symbols), min(part.start, end), end, options
        )
        total.partitions += done.partitions
        total.up_to_date += done.up_to_date
        total.problems += done.problems
    return _said(total, f"{total.up_to_date} up to date"), total.ok


def _api(
    config: Config, datasets: Sequence[str], symbols: Sequence[str], options: Options
) -> tuple[str, bool]:
    from ingest.api import Options as PullOptions  # ccxt takes a second to import
    from ingest.api import ingest_api

    if not datasets:
        return "no dataset of the API was asked for", True
    pull = PullOptions(retry=options.retry, whole_hours=True)
    _, done = ingest_api(config, datasets, None, None, None, pull, default_symbols=symbols)
    return _said(done, done.asked), done.ok


def _said(summary: Summary, more: str) -> str:
    counts = summary.partitions
    bad = "".join(f"\n  {problem}" for problem in summary.problems)
    return (
        f"{counts['landed']} partitions landed, {more}, {counts['quarantined']} quarantined, "
        f"{counts['failed']} failed{bad}"
    )


# ---------------------------------------------------------------------------------- the warehouse
def _dbt_build(config: Config) -> int:
    return run_dbt(config, "build", "--exclude-resource-type", "unit_test")


def _build(config: Config, build: Callable[[Config], int]) -> tuple[str, bool]:
    reason = reason_to_build(config)
    if reason is None:
        return "nothing has landed since the last build", True
    print(f"update: dbt build, because {reason}", file=sys.stderr, flush=True)
    code = build(config)
    return ("dbt build", True) if code == 0 else (f"dbt build failed with code {code}", False)


def _publish(config: Config, keep: int) -> tuple[str, bool]:
    done = publish(config, keep=keep)
    return done.text, True


@contextlib.contextmanager
def _alone(lake: Lake) -> Iterator[None]:
    """One update of a lake at a time; the kernel lets go of the lock when its process ends."""
    if not lake.exists:
        yield
        return
    lake.locks.mkdir(parents=True, exist_ok=True)
    with (lake.locks / "update.lock").open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another perp update is at work on {lake.root}; wait for it to end"
            ) from None
        yield
