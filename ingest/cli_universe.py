"""The ``perp universe`` commands."""

from __future__ import annotations

import difflib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ingest.cli_options import complain, located
from ingest.config import Config
from ingest.errors import UsageError
from ingest.partition import utc_today
from ingest.sources.downloads import Retry
from ingest.universe import SEED, Proposal, read_universe, replace_file, with_proposals
from ingest.universe import refresh as look

_WORDS = {
    "add": "add",
    "exclude": "list, left out",
    "delisted": "stays, with a reason",
    "missing": "look at it",
    "review": "look at it",
}


@click.group()
def universe() -> None:
    """Which contracts are taken when none are named: the seed universe.csv."""


@universe.command()
@click.option("--write", is_flag=True, help="Write the proposed lines into the seed.")
@click.option(
    "--min-months",
    default=12,
    show_default=True,
    type=click.IntRange(1),
    help="Monthly files of minute bars that make a history.",
)
@click.option("--attempts", default=5, show_default=True, type=click.IntRange(1, 20))
@click.option("--file", "path", type=Path, default=SEED, help="The seed [universe.csv].")
@click.option("--json", "as_json", is_flag=True, help="Print the proposals as JSON.")
@located("archive_url", "archive_listing_url", "api_url")
def refresh(
    config: Config, write: bool, min_months: int, attempts: int, path: Path, as_json: bool
) -> int:
    """Compare the seed with the archive's listing and the exchange's info, and propose changes.

    New perpetuals with a history are added, or listed with the reason that keeps them out; those
    that are delisted stay. Nothing is written without --write, and no line is ever taken out.
    """
    text = _text(path)
    entries = read_universe(path)
    found = look(
        config, entries, min_months=min_months, today=utc_today(), retry=Retry(attempts=attempts)
    )
    if found.no_exchange:
        complain(f"the exchange was not asked, so nothing new is proposed: {found.no_exchange}")
    changed = with_proposals(text, found.proposals)
    if as_json:
        print(json.dumps([asdict(p) for p in found.proposals], ensure_ascii=False))
    else:
        _show(found.proposals)
        sys.stdout.writelines(_diff(text, changed, path))
    lines = sum(p.entry is not None for p in found.proposals)
    counts = (
        f"{len(entries)} contracts in {path.name}, {found.n_archived} in the archive, "
        f"{found.n_listed} at the exchange; {lines} lines proposed"
    )
    if write and lines:
        replace_file(path, changed)
        complain(f"{counts} and written; next: perp ingest archive, dbt build")
    else:
        complain(counts + ("; write them with --write" if lines else ""))
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error


def _show(proposals: list[Proposal]) -> None:
    if not proposals:
        print("nothing to propose")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("symbol", "proposal", "why"):
        table.add_column(name)
    for p in proposals:
        table.add_row(p.symbol, _WORDS[p.kind], p.why)
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table)


def _diff(before: str, after: str, path: Path) -> list[str]:
    lines = before.splitlines(keepends=True), after.splitlines(keepends=True)
    diff = difflib.unified_diff(*lines, f"a/{path.name}", f"b/{path.name}", n=1)
    return [line if line.endswith("\n") else f"{line}\n" for line in diff]
