"""The ``perp`` command. stdout carries data; stderr carries progress and messages.

Exit codes: 0 done, 1 some work failed, 2 the request cannot be carried out, 130 interrupted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ingest.cli_ingest import ingest
from ingest.cli_options import complain, located, split
from ingest.cli_universe import universe
from ingest.config import Config
from ingest.datasets import SOURCES
from ingest.dbt import run_dbt
from ingest.errors import PerpError, UsageError
from ingest.lake import Lake
from ingest.names import check_symbol
from ingest.progress import size
from ingest.status import holdings, month_ranges


def main() -> None:
    """Entry point of the console script."""
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
cli.add_command(universe)


def _on_record(text: str | None) -> set[str]:
    every = sorted({name for datasets in SOURCES.values() for name in datasets})
    for name in split(text) or []:
        if name not in every:
            raise UsageError(f"no dataset {name!r}; choose from {', '.join(every)}")
    return set(split(text) or every)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--symbols", help="Only these contracts, comma-separated.")
@click.option("--datasets", help="Only these datasets, comma-separated.")
@located("lake")
def status(config: Config, as_json: bool, symbols: str | None, datasets: str | None) -> int:
    """What the lake holds: months landed, missing and why, quarantined, bytes, last landing."""
    lake = Lake(config.lake)
    wanted_symbols = {check_symbol(s) for s in split(symbols) or []}
    wanted_datasets = _on_record(datasets)
    rows = [
        h
        for h in holdings(lake)
        if h.dataset in wanted_datasets and (not wanted_symbols or h.symbol in wanted_symbols)
    ]
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
    """Run ``dbt build`` on the lake; further arguments go to dbt."""
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
