"""The ``perp`` command. stdout carries data; stderr carries progress and messages.

Exit codes: 0 done, 1 some work failed, 2 the request cannot be carried out, 130 interrupted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ingest import runlog
from ingest.builds import reason_to_build
from ingest.cli_export import export_group
from ingest.cli_ingest import ingest
from ingest.cli_operations import (
    chosen_by,
    prune,
    retry,
    show_failures,
    show_runs,
    verify,
    watch,
)
from ingest.cli_options import complain, located
from ingest.cli_publish import publish, update
from ingest.cli_report import report
from ingest.cli_universe import universe
from ingest.config import Config
from ingest.dbt import run_dbt
from ingest.errors import PerpError, UsageError
from ingest.lake import Lake
from ingest.progress import duration, size
from ingest.status import holdings, month_ranges
from ingest.warehouse import check_unlocked


def main() -> None:
    """Entry point of the console script."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Again, because polars has put one before it under which a wait goes on after Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = cli(standalone_mode=False)
    except click.ClickException as error:
        complain(error.format_message())
        sys.exit(error.exit_code)
    except UsageError as error:
        complain(str(error))
        sys.exit(2)
    except PerpError as error:
        complain(str(error))
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort, asyncio.CancelledError):
        complain("interrupted; what has landed stays, run the same command again to go on")
        sys.exit(130)
    sys.exit(code or 0)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", is_flag=True, help="Say more about retries.")
def cli(verbose: bool) -> None:
    """An hourly warehouse of Binance USDT-margined perpetual futures."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="perp: %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)


cli.add_command(ingest)
cli.add_command(publish)
cli.add_command(update)
cli.add_command(export_group)
cli.add_command(report)
cli.add_command(universe)
cli.add_command(retry)
cli.add_command(verify)
cli.add_command(prune)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--symbols", help="Only these contracts, comma-separated.")
@click.option("--datasets", help="Only these datasets, comma-separated.")
@click.option("--failed", is_flag=True, help="What failed, why, and how to try it again.")
@click.option("--runs", is_flag=True, help="The last runs of perp and how they ended.")
@click.option("--watch", "watching", is_flag=True, help="Show the lake at work until Ctrl-C.")
@click.option(
    "--every",
    default=2.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="Seconds between two looks of --watch.",
)
@located("lake")
def status(
    config: Config,
    as_json: bool,
    symbols: str | None,
    datasets: str | None,
    failed: bool,
    runs: bool,
    watching: bool,
    every: float,
) -> int:
    """What the lake holds: months landed, missing and why, quarantined, bytes, last landing."""
    lake = Lake(config.lake)
    chosen = chosen_by(symbols, datasets)
    if failed + runs + watching > 1 or (watching and as_json):
        raise UsageError("--failed, --runs and --watch are views of their own; choose one")
    if failed:
        return show_failures(lake, chosen, as_json)
    if runs:
        return show_runs(lake, as_json)
    if watching:
        return watch(lake, every)
    rows = [h for h in holdings(lake) if chosen(h.dataset, h.symbol)]
    if as_json:
        print(json.dumps([asdict(h) for h in rows], ensure_ascii=False))
        return 0
    if not rows:
        print(f"nothing is on record in {lake.root}; start with: perp ingest archive")
        return 0
    table = Table(box=None, header_style="bold", pad_edge=False)
    columns = ("source", "dataset", "symbol", "landed", "missing", "rows", "size", "last landing")
    for name in columns:
        table.add_column(name, justify="right" if name in ("rows", "size") else "left")
    for h in rows:
        reasons: dict[str, list[str]] = {}
        for month, reason in h.missing.items():
            reasons.setdefault(reason, []).append(month)
        table.add_row(
            h.source,
            h.dataset,
            h.symbol,
            month_ranges(h.landed) or "-",
            "; ".join(f"{month_ranges(m)} {r}" for r, m in reasons.items()) or "-",
            f"{h.rows:,}",
            size(h.bytes),
            (h.last_landing or "-")[:19],
        )
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table)
    for h in rows:
        for label, errors in (("quarantined", h.quarantined), ("failed", h.failed)):
            for error in errors:
                print(f"{label}: {error}")
    print(
        f"{len(rows)} dataset-symbols, {sum(len(h.landed) for h in rows)} partitions, "
        f"{sum(h.rows for h in rows):,} rows, {size(sum(h.bytes for h in rows))}"
    )
    return 0


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@located("lake", "warehouse")
def build(config: Config, arguments: tuple[str, ...]) -> int:
    """Run ``dbt build`` on the lake if there is anything to build; further arguments go to dbt."""
    if not arguments:
        check_unlocked(config.warehouse)
        if reason_to_build(config) is None:
            print("nothing to build: neither data nor models have changed since the last build")
            return 0
    took = runlog.last_seconds(
        runlog.folder_of(config.lake), "build", {"arguments": list(arguments)}
    )
    if took is not None:
        complain(f"the last build with these arguments took {duration(took)}")
    return run_dbt(config, "build", *arguments)


@cli.group()
def sandbox() -> None:
    """A simulated exchange on this machine, flaws included."""


@sandbox.command()
@click.option("--folder", default="data/sandbox", show_default=True, type=Path)
def serve(folder: Path) -> int:
    """Serve the simulated archive and API until Ctrl-C, and print how to point perp at them."""
    from ingest.sandbox.demo import serve_until_interrupted

    return serve_until_interrupted(folder)


@sandbox.command()
@click.option("--folder", default="data/sandbox", show_default=True, type=Path)
@located("lake", "warehouse")
def warehouse(config: Config, folder: Path) -> int:
    """Simulate, download, verify, land, build and test a whole small warehouse, offline."""
    from ingest.sandbox.demo import build_warehouse

    return build_warehouse(config, folder)
