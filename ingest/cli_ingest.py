"""The ``perp ingest`` commands, one a source."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ingest.cli_options import complain, located, split
from ingest.config import Config
from ingest.datasets import API, TARDIS, VISION, Dataset, own_files
from ingest.errors import PerpError, UsageError
from ingest.names import check_symbol, unknown_symbol
from ingest.partition import utc_today
from ingest.plan import Plan
from ingest.progress import duration, size
from ingest.run import Options, Summary, ingest_archive, known_symbols
from ingest.sources.downloads import Failed, NotFound, Retry
from ingest.sources.vision import VisionArchive
from ingest.universe import default_symbols

if TYPE_CHECKING:
    from ingest.captures import ImportSummary
    from ingest.record import RecordingSummary

FIRST_DAY = date(2019, 9, 1)  # the market opened in September 2019


@click.group()
def ingest() -> None:
    """Land data of a source in the lake."""


def _day(name: str, text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise UsageError(f"{name} {text!r} is not a day; write it as 2024-01-31") from None


def _days(start: str | None, end: str | None) -> tuple[date, date]:
    yesterday = utc_today() - timedelta(days=1)
    first = _day("--start", start) if start else FIRST_DAY
    last = min(_day("--end", end), yesterday) if end else yesterday
    if end and first > _day("--end", end):
        raise UsageError(f"--end {end} is before --start {first}; swap them")
    if first > last:
        raise UsageError(f"--start {first} is after yesterday ({yesterday}), the last archived day")
    return max(first, FIRST_DAY), last


def _open_days(start: str | None, end: str | None) -> tuple[date | None, date | None]:
    first = max(_day("--start", start), FIRST_DAY) if start else None
    last = _day("--end", end) if end else None
    if first and last and first > last:
        raise UsageError(f"--end {last} is before --start {first}; swap them")
    if first and first > utc_today():
        raise UsageError(f"--start {first} lies in the future")
    return first, last


def _known_datasets(text: str | None, registry: Mapping[str, Dataset] = VISION) -> list[str]:
    names = split(text)
    if names is None:
        return list(registry)
    for name in names:
        if name not in registry:
            raise UsageError(f"no dataset {name!r}; choose from {', '.join(registry)}")
    if not names:
        raise UsageError("--datasets is empty; leave it out for all")
    return names


def _datasets_to_ingest(text: str | None) -> list[str]:
    if text is None:
        return own_files()
    names = _known_datasets(text)
    for name in names:
        if leader := VISION[name].made_with:
            keep = " --keep-ticks" if VISION[name].optional else ""
            raise UsageError(f"{name} is landed by --datasets {leader}{keep}")
    return names


def _symbols(text: str | None, config: Config, retry: Retry) -> list[str]:
    names = split(text)
    if names is None:
        return default_symbols()
    symbols = list(dict.fromkeys(check_symbol(name) for name in names))
    if not symbols:
        raise UsageError("--symbols is empty; leave it out to ingest the universe")

    async def ask() -> set[str]:
        async with VisionArchive(config.archive_url, config.listing_url, retry=retry) as archive:
            return await known_symbols(archive)

    try:
        known = asyncio.run(ask())
    except (Failed, NotFound) as error:
        raise PerpError(
            f"cannot list {config.listing_url}: {error or 'not found'}; check the connection and "
            "PERP_ARCHIVE_LISTING_URL, then run this command again"
        ) from error
    for symbol in symbols:
        if symbol not in known:
            raise unknown_symbol(symbol, known, "the archive has")
    return symbols


@ingest.command()
@click.option("--symbols", help="Comma-separated contracts [default: the universe seed].")
@click.option("--start", help="First day, YYYY-MM-DD [default: the beginning].")
@click.option("--end", help="Last day, YYYY-MM-DD [default: yesterday].")
@click.option("--datasets", help="Comma-separated datasets [default: all].")
@click.option("--connections", default=8, show_default=True, type=click.IntRange(1, 64))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64))
@click.option("--attempts", default=5, show_default=True, type=click.IntRange(1, 20))
@click.option("--keep-ticks", is_flag=True, help="Land the aggTrades themselves too (large).")
@click.option("--keep-raw", is_flag=True, help="Keep the downloaded zips in the lake's _raw.")
@click.option("--retry-quarantined", is_flag=True, help="Try quarantined files again.")
@click.option("--dry-run", is_flag=True, help="Show the plan and land nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@located("lake", "archive_url", "archive_listing_url")
def archive(
    config: Config,
    symbols: str | None,
    start: str | None,
    end: str | None,
    datasets: str | None,
    connections: int,
    workers: int,
    attempts: int,
    keep_ticks: bool,
    keep_raw: bool,
    retry_quarantined: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Land files of the Binance Vision archive: monthly first, daily where a month lacks days."""
    first, last = _days(start, end)
    chosen = _datasets_to_ingest(datasets)
    retry = Retry(attempts=attempts)
    plan, summary = ingest_archive(
        config,
        chosen,
        _symbols(symbols, config, retry),
        first,
        last,
        Options(connections, workers, retry, keep_raw, retry_quarantined, keep_ticks),
        dry_run=dry_run,
    )
    if as_json:
        print(json.dumps(_as_json(plan, summary, dry_run), ensure_ascii=False))
    elif dry_run:
        _show_plan(plan)
    else:
        show_summary(summary, config)
    return 0 if summary.ok else 1


@ingest.command()
@click.option("--symbols", help="Comma-separated contracts [default: the universe seed].")
@click.option("--start", help="First day, YYYY-MM-DD [default: 30 days ago].")
@click.option("--end", help="Last day, YYYY-MM-DD [default: up to now].")
@click.option("--datasets", help="Comma-separated datasets [default: all].")
@click.option("--connections", default=4, show_default=True, type=click.IntRange(1, 16))
@click.option("--attempts", default=5, show_default=True, type=click.IntRange(1, 20))
@click.option("--overlap", is_flag=True, help="Ask for what the archive holds too, to compare.")
@click.option("--dry-run", is_flag=True, help="Show the plan and land nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@located("lake", "api_url")
def api(
    config: Config,
    symbols: str | None,
    start: str | None,
    end: str | None,
    datasets: str | None,
    connections: int,
    attempts: int,
    overlap: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Pull from the exchange's API what the archive lacks: the last hours, holes, snapshots.

    Only what neither the archive nor an earlier pull has brought is asked for. Open interest and
    ratios reach 30 days back. No key is needed.
    """
    from ingest.api import Options as PullOptions  # ccxt takes a second to import
    from ingest.api import ingest_api

    chosen = split(symbols)
    if chosen == []:
        raise UsageError("--symbols is empty; leave it out to ingest the universe")
    pulls, summary = ingest_api(
        config,
        _known_datasets(datasets, API),
        [check_symbol(s) for s in chosen] if chosen else None,
        *_open_days(start, end),
        PullOptions(connections, Retry(attempts=attempts), overlap=overlap),
        default_symbols=default_symbols(),
        dry_run=dry_run,
    )
    if as_json:
        tasks = [
            {
                "dataset": p.dataset,
                "symbol": p.symbol,
                "month": p.month,
                "spans": [[a.isoformat(), b.isoformat()] for a, b in p.spans],
            }
            for p in pulls
        ]
        extra = {"tasks": tasks} if dry_run else {}
        print(json.dumps({**extra, "planned": len(pulls), **asdict(summary)}, ensure_ascii=False))
    elif dry_run:
        for dataset, count in sorted(Counter(p.dataset for p in pulls).items()):
            print(f"{dataset}: {count} partitions to ask for")
        print(f"{len(pulls)} partitions, {sum(p.requests for p in pulls)} requests or more")
    else:
        counts = summary.partitions
        print(
            f"partitions: {counts['landed']} landed, {summary.by_others} left to other processes, "
            f"{counts['failed']} failed; {summary.asked} in "
            f"{duration(summary.seconds)}, {summary.rows:,} rows in the partitions written"
        )
        for problem in summary.problems:
            print(f"  {problem}")
        print(f"lake: {config.lake}    next: dbt build")
    return 0 if summary.ok else 1


@ingest.command()
@click.option(
    "--path", type=Path, help="Take the files from this folder, at any depth, and ask no server."
)
@click.option(
    "--symbols",
    help="Comma-separated contracts, and PERPETUALS for the file of all [default: all that the "
    "folder holds; from the server PERPETUALS for liquidations, the universe seed for tickers].",
)
@click.option("--start", help="First day of arrival, YYYY-MM-DD [default: the beginning].")
@click.option("--end", help="Last day of arrival, YYYY-MM-DD [default: yesterday].")
@click.option("--datasets", help="Comma-separated [default: liquidations; with --path, all].")
@click.option("--connections", default=8, show_default=True, type=click.IntRange(1, 64))
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64))
@click.option("--attempts", default=5, show_default=True, type=click.IntRange(1, 20))
@click.option("--retry-quarantined", is_flag=True, help="Try quarantined files again.")
@click.option("--dry-run", is_flag=True, help="Count the files and land nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@located("lake", "tardis_url")
def tardis(
    config: Config,
    path: Path | None,
    symbols: str | None,
    start: str | None,
    end: str | None,
    datasets: str | None,
    connections: int,
    workers: int,
    attempts: int,
    retry_quarantined: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Land day files of Tardis: liquidations and derivative tickers.

    The first day of each month is free. Other days need a key, which is taken from the environment
    variable TARDIS_API_KEY. Files that you have already are landed with --path: those that the
    vendor's clients save, or the folders of its server.
    """
    from ingest.tardis import ingest_tardis  # what merges rows takes a third of a second to import

    first, last = _days(start, end)
    names = split(symbols)
    if names == []:
        raise UsageError("--symbols is empty; leave it out for the default")
    summary = ingest_tardis(
        config,
        path=path,
        # A day of one contract's ticker weighs more than a month of all liquidations.
        datasets=_known_datasets(datasets or (None if path else "liquidations"), TARDIS),
        symbols=names,
        first=first,
        last=last,
        options=Options(connections, workers, Retry(attempts), False, retry_quarantined),
        dry_run=dry_run,
    )
    if as_json:
        print(json.dumps(vars(summary), ensure_ascii=False))
    elif dry_run:
        print(
            f"{summary.files['planned']} day files in {summary.partitions['planned']} partitions "
            f"to look at; {summary.files['on record']} of them have landed"
        )
    else:
        show_summary(summary, config)
    return 0 if summary.ok else 1


def _as_json(plan: Plan, summary: Summary, dry_run: bool) -> dict[str, object]:
    tasks = [
        {
            "dataset": t.dataset,
            "symbol": t.symbol,
            "month": t.month,
            "files": [f.key for f in (*([t.monthly] if t.monthly else []), *t.daily.values())],
        }
        for t in plan.tasks
    ]
    return {
        **({"tasks": tasks} if dry_run else {}),
        "planned": len(plan.tasks),
        **vars(summary),
    }


def _show_plan(plan: Plan) -> None:
    by_dataset = Counter(t.dataset for t in plan.tasks)
    for dataset, count in sorted(by_dataset.items()):
        print(f"{dataset}: {count} partitions to land")
    absent = sum(f.status == "absent_upstream" for f in plan.facts)
    print(
        f"{len(plan.tasks)} partitions to land, {plan.up_to_date} up to date, "
        f"{absent} absent upstream"
    )


def show_summary(summary: Summary, config: Config) -> None:
    """Print what an ingest did."""
    counts = summary.partitions
    files = summary.files
    others = f"{summary.by_others} landed by other processes, " if summary.by_others else ""
    print(
        f"partitions: {counts['landed']} landed, {others}{summary.up_to_date} up to date, "
        f"{counts['absent_upstream']} absent upstream, {counts['quarantined']} quarantined, "
        f"{counts['failed']} failed"
    )
    print(
        f"files: {files['landed']} read, {files['quarantined']} quarantined, "
        f"{files['failed']} failed; {size(summary.bytes)} in {duration(summary.seconds)}, "
        f"{summary.rows:,} rows in the partitions written"
    )
    if summary.known_bad:
        print(
            f"{summary.known_bad} files stay quarantined until upstream replaces them "
            "(--retry-quarantined tries them again; perp status lists them)"
        )
    for problem in summary.problems:
        print(f"  {problem}")
    print(f"lake: {config.lake}    next: dbt build")


@ingest.command()
@click.argument("paths", nargs=-1, type=Path)
@click.option("--import", "importing", is_flag=True, help="Import captured CSVs: PATHS.")
@click.option("--seconds", type=click.FloatRange(min=0), help="Record so long [default: for ever].")
@click.option(
    "--rotate",
    default=300.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="Seconds between two additions to the lake.",
)
@click.option("--recorded-from", help="From when the captures were recorded (UTC).")
@click.option("--recorded-to", help="Until when the captures were recorded (UTC).")
@click.option(
    "--max-silence",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0.01),
    help="Minutes without any order after which the feed is taken to be dead.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@located("lake", "stream_url")
def liquidations(
    config: Config,
    paths: tuple[Path, ...],
    importing: bool,
    seconds: float | None,
    rotate: float,
    recorded_from: str | None,
    recorded_to: str | None,
    max_silence: float,
    as_json: bool,
) -> int:
    """Record the liquidation stream until interrupted, or import what others recorded.

    \b
    perp ingest liquidations                     records the whole market
    perp ingest liquidations --import PATH...    imports CSV files and folders of them
    """
    from ingest.record import RecordOptions, record_liquidations
    from ingest.sources.liquidation_stream import StreamOptions

    if importing != bool(paths):
        raise UsageError("to import captures, write --import and name files or folders")
    if importing:
        return _import(config, paths, recorded_from, recorded_to, max_silence, as_json)
    if recorded_from or recorded_to:
        raise UsageError("--recorded-from and --recorded-to go with --import")
    recording = record_liquidations(
        config,
        RecordOptions(seconds, rotate, stream=StreamOptions(max_silence=60 * max_silence)),
    )
    if as_json:
        print(json.dumps(asdict(recording), ensure_ascii=False))
    else:
        _show_recording(recording, config)
    return 130 if recording.stopped_by == "SIGINT" else 0


def _import(
    config: Config,
    paths: tuple[Path, ...],
    start: str | None,
    end: str | None,
    max_silence: float,
    as_json: bool,
) -> int:
    from ingest.captures import import_captures

    recorded = None
    if start or end:
        if not (start and end):
            raise UsageError("--recorded-from and --recorded-to go together")
        recorded = _moment("--recorded-from", start), _moment("--recorded-to", end)
        if recorded[0] >= recorded[1]:
            raise UsageError(f"--recorded-to {end} is not after --recorded-from {start}")
    summary = import_captures(
        config,
        paths,
        recorded=recorded,
        max_silence=timedelta(minutes=max_silence),
        note=complain,
    )
    if as_json:
        print(json.dumps(asdict(summary), ensure_ascii=False))
    else:
        _show_import(summary, config)
    return 0 if summary.ok else 1


def _moment(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{name} {text!r} is not a time; write it as 2024-01-31T14:00") from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _show_recording(recording: RecordingSummary, config: Config) -> None:
    r = recording
    print(
        f"orders: {r.orders:,} received, {r.new:,} new, {r.duplicates:,} duplicates, "
        f"{r.conflicts:,} conflicts, {r.recovered:,} recovered from killed recorders"
    )
    print(
        f"left out: {r.coin_margined:,} of coin-margined contracts, {r.malformed:,} messages that "
        "are no orders"
    )
    print(
        f"connections: {r.connections}, {r.failures} attempts failed; covered "
        f"{duration(r.covered_seconds)} in {len(r.covered)} spans, in {duration(r.seconds)}"
    )
    print(f"lake: {config.lake}    next: dbt build")


def _show_import(summary: ImportSummary, config: Config) -> None:
    print(
        f"files: {summary.files} read, {summary.unchanged} of them with nothing new, "
        f"{len(summary.problems)} refused"
    )
    print(
        f"orders: {summary.rows_in:,} read, {summary.new:,} new, {summary.duplicates:,} "
        f"duplicates, {summary.conflicts:,} conflicts; {summary.bad_rows:,} lines left out"
    )
    print(f"lake: {config.lake}    next: dbt build")
