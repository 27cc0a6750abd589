"""``perp retry``, ``verify`` and ``prune``, and the views of ``perp status`` that show trouble."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict

import click
from rich.console import Console
from rich.live import Live

from ingest import runlog
from ingest.cli_options import complain, located, split
from ingest.config import Config
from ingest.datasets import MARKET, SOURCES
from ingest.errors import UsageError
from ingest.failures import Failure, failures
from ingest.lake import Lake
from ingest.names import check_symbol
from ingest.progress import duration, size
from ingest.sources.downloads import Retry
from ingest.sources.tardis import lake_symbol
from ingest.watch import Watcher, landing, lines, screen

_FIRST_SHOWN = 20  # files of one kind that prune names; it counts the others
_RUNS_SHOWN = 20

Chosen = Callable[[str, str], bool]


def chosen_by(symbols: str | None, datasets: str | None) -> Chosen:
    """Which (dataset, symbol) the options ask for; raises UsageError for names that cannot be."""
    every = sorted({name for of_source in SOURCES.values() for name in of_source})
    wanted = split(datasets)
    for name in wanted or []:
        if name not in every:
            raise UsageError(f"no dataset {name!r}; choose from {', '.join(every)}")
    names = {_symbol(s) for s in split(symbols) or []}

    def chosen(dataset: str, symbol: str) -> bool:
        return (not wanted or dataset in wanted) and (not names or symbol in names)

    return chosen


def _symbol(text: str) -> str:
    return MARKET if check_symbol(text) == check_symbol(MARKET) else lake_symbol(text)


def _filters(command: Callable[..., int]) -> Callable[..., int]:
    """The options that choose datasets and symbols."""
    command = click.option("--datasets", help="Only these datasets, comma-separated.")(command)
    return click.option("--symbols", help="Only these contracts, comma-separated.")(command)


def _existing(config: Config) -> Lake:
    lake = Lake(config.lake)
    if not lake.exists:
        raise UsageError(f"{lake.root} is no lake; start with: perp ingest archive")
    return lake


# ---------------------------------------------------------------------------------- perp status
def show_failures(lake: Lake, chosen: Chosen, as_json: bool) -> int:
    """Print what failed, is quarantined or is damaged, why, and how to try it again."""
    found = [f for f in failures(lake) if chosen(f.dataset, f.symbol)]
    if as_json:
        print(json.dumps([asdict(f) for f in found], ensure_ascii=False))
        return 0
    for failure in found:
        _show_failure(failure)
    counts = Counter(f.outcome for f in found)
    print(", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items())) or "nothing failed")
    if any(f.source in ("vision", "api", "tardis") for f in found):
        print("next: perp retry tries all of it again; with --dry-run it says what it would do")
    return 0


def _show_failure(f: Failure) -> None:
    print(f"{f.outcome}: {f.source}/{f.dataset} {f.symbol} {f.period}")
    print(f"  {f.error}")
    tried = f"{f.attempts} attempts, the last" if f.attempts else "last tried"
    held = "; the partition holds other data" if f.has_data else ""
    print(f"  {tried} {f.tried_at[:19]} UTC{held}")
    print(f"  {f.again}")


def show_runs(lake: Lake, as_json: bool) -> int:
    """Print the newest runs of perp and how they ended."""
    found = runlog.runs(runlog.folder_of(lake.root), _RUNS_SHOWN)
    if as_json:
        print(json.dumps([asdict(r) for r in found], ensure_ascii=False))
        return 0
    for run in found:
        took = "" if run.seconds is None else f" in {duration(run.seconds)}"
        print(f"{run.started[:19]} {run.outcome}{took}: {run.command} {_arguments(run)}".rstrip())
        if run.last:
            print(f"  {run.now or run.last}")
        if run.notes:
            print(f"  {run.notes} messages in {run.path}")
    if not found:
        print(f"no run is on record in {runlog.folder_of(lake.root)}")
    return 0


def _arguments(run: runlog.Run) -> str:
    """The options that were given, as they would be typed."""
    words = []
    for name, value in run.arguments.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif isinstance(value, list):
            words += [str(item) for item in value]
        elif value not in (None, False):
            words.append(f"{option} {value}")
    return " ".join(words)


def watch(lake: Lake, every: float) -> int:
    """Show the lake at work until Ctrl-C: a screen in a terminal, else lines of text."""
    watcher = Watcher(lake)
    try:
        if not sys.stdout.isatty():
            _watch_plain(watcher, every)
        with Live(screen(watcher.look()), console=Console(), auto_refresh=False) as live:
            while True:
                time.sleep(every)
                live.update(screen(watcher.look()), refresh=True)
    except KeyboardInterrupt:
        return 0


def _watch_plain(watcher: Watcher, every: float) -> None:
    shown: set[str] = set()
    while True:
        now = watcher.look()
        stamp = time.strftime("%H:%M:%S", time.gmtime())
        news = [landing(r) for r in reversed(now.last)]
        for line in [*lines(now), *(n for n in news if n not in shown)]:
            print(f"{stamp} {line}", flush=True)
        shown = set(news)
        time.sleep(every)


# ----------------------------------------------------------------------------------- perp retry
@click.command()
@_filters
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64))
@click.option("--attempts", default=5, show_default=True, type=click.IntRange(1, 20))
@click.option("--dry-run", is_flag=True, help="Show what would be tried, and try nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@located("lake", "archive_url", "archive_listing_url", "api_url", "tardis_url")
def retry(
    config: Config,
    symbols: str | None,
    datasets: str | None,
    workers: int,
    attempts: int,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Try again what failed, was quarantined or is damaged, and nothing else.

    What stands in the lake stays until something better has landed; a quarantined file stays until
    perp prune finds that a good one has.
    """
    from ingest import retry as again  # ccxt takes a second to import

    lake = _existing(config)
    wanted = again.to_retry(lake, chosen_by(symbols, datasets))
    if dry_run:
        if as_json:
            print(json.dumps([asdict(f) for f in wanted], ensure_ascii=False))
            return 0
        for failure in wanted:
            print(failure.line)
        print(f"{len({(f.source, f.key) for f in wanted})} partitions to try again")
        return 0
    result = again.retry(config, wanted, workers=workers, attempts=Retry(attempts))
    if as_json:
        print(json.dumps({**asdict(result), "ok": result.ok}, ensure_ascii=False))
        return 0 if result.ok else 1
    print(
        f"{result.tried} partitions tried again: {result.mended} mended, "
        f"{result.tried - result.mended} not"
    )
    for line in [*result.problems, *(f"not tried: {text}" for text in result.left)]:
        print(f"  {line}")
    if result.mended:
        print(f"lake: {config.lake}    next: dbt build")
    return 0 if result.ok else 1


# ---------------------------------------------------------------------------------- perp verify
@click.command()
@_filters
@click.option("--quick", is_flag=True, help="Leave the checksums out, and read footers only.")
@click.option("--repair", is_flag=True, help="Set bad partitions aside, to be landed again.")
@click.option("--processes", default=2, show_default=True, type=click.IntRange(1, 64))
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@located("lake")
def verify(
    config: Config,
    symbols: str | None,
    datasets: str | None,
    quick: bool,
    repair: bool,
    processes: int,
    as_json: bool,
) -> int:
    """Compare every file of the lake with its log record: size, sha256, rows, columns, times.

    Exit code 1 if something is wrong. With --repair, bad partitions go to the lake's _quarantine
    and on record as failed, so that the next ingest or perp retry lands them again.
    """
    from ingest import verify as check

    lake = _existing(config)
    done = check.verify(
        lake,
        chosen_by(symbols, datasets),
        quick=quick,
        processes=processes,
        note=lambda finding: None if as_json else print(finding.line, flush=True),
    )
    repaired = [(f, what) for f, what in check.repair(lake, done.findings)] if repair else []
    if as_json:
        report = {
            "files": done.files,
            "bytes": done.bytes,
            "seconds": done.seconds,
            "ok": done.ok,
            "findings": [
                {"kind": f.kind, "file": str(f.file), "what": f.what, "do": f.do}
                for f in done.findings
            ],
            "repaired": [{"file": str(f.file), "done": what} for f, what in repaired],
        }
        print(json.dumps(report, ensure_ascii=False))
        return 0 if done.ok else 1
    for finding, what in repaired:
        print(f"repair: {finding.file}: {what}")
    counts = Counter(f.kind for f in done.findings)
    found = ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())) or "nothing is wrong"
    speed = done.files / max(done.seconds, 1e-9)
    print(
        f"{done.files:,} partitions, {size(done.bytes)} on record, checked in "
        f"{duration(done.seconds)} ({speed:,.0f} files/s): {found}"
    )
    return 0 if done.ok else 1


# ----------------------------------------------------------------------------------- perp prune
@click.command()
@click.option("--dry-run", is_flag=True, help="Show what would go, and remove nothing.")
@click.option("--yes", is_flag=True, help="Remove without asking.")
@click.option("--raw", is_flag=True, help="Also the downloads kept with --keep-raw.")
@click.option(
    "--keep-runs", default=200, show_default=True, type=click.IntRange(0), help="Run logs to keep."
)
@located("lake")
def prune(config: Config, dry_run: bool, yes: bool, raw: bool, keep_runs: int) -> int:
    """Remove what nobody needs: leftovers, files that have landed since, old run logs.

    The landing log stays whole: it says where every row came from.
    """
    from ingest.prune import Removable, removable, remove

    lake = _existing(config)
    items = list(removable(lake, keep_runs=keep_runs, raw=raw))
    kinds: dict[str, list[Removable]] = {}
    for item in items:
        kinds.setdefault(item.why, []).append(item)
    for why, of_kind in kinds.items():
        print(f"{why}: {len(of_kind):,}, {size(sum(i.bytes for i in of_kind))}")
        for item in of_kind[:_FIRST_SHOWN]:
            print(f"  {item.path}")
        if len(of_kind) > _FIRST_SHOWN:
            print(f"  and {len(of_kind) - _FIRST_SHOWN:,} more")
    total = size(sum(i.bytes for i in items))
    print(f"{len(items):,} files and folders, {total}, can go" if items else "nothing can go")
    if dry_run or not items:
        return 0
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nothing removed; say --yes to remove this, or --dry-run to look only")
        if not click.confirm("Remove them?"):
            complain("nothing removed")
            return 0
    stayed = [item.path for item, gone in remove(lake, items) if not gone]
    for path in stayed:
        complain(f"{path} stays: another process works on its source")
    print(f"{len(items) - len(stayed):,} removed")
    return 0
