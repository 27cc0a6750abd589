"""``perp report``: the state of a warehouse as one HTML page."""

from __future__ import annotations

import sys
from datetime import date, datetime
from pathlib import Path

import click

from ingest.config import Config
from ingest.errors import UsageError
from ingest.names import check_symbol
from ingest.progress import duration, size

_DAY = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    default="report.html",
    show_default=True,
    help="File to write.",
)
@click.option("--symbol", help="Contract of the chart [default: BTCUSDT, or the longest one].")
@click.option("--start", type=_DAY, help="First day, YYYY-MM-DD [default: all].")
@click.option("--end", type=_DAY, help="Last day, YYYY-MM-DD [default: all].")
@click.option(
    "--warehouse",
    type=click.Path(path_type=Path),
    help="DuckDB file [default: the published one, else PERP_WAREHOUSE].",
)
@click.option(
    "--published",
    type=click.Path(path_type=Path),
    help="Folder for readers [PERP_PUBLISHED, beside the warehouse].",
)
def report(
    target: Path,
    symbol: str | None,
    start: datetime | None,
    end: datetime | None,
    warehouse: Path | None,
    published: Path | None,
) -> int:
    """Write what the warehouse holds and lacks as one HTML page that opens offline."""
    from ingest.report import Choice, write_report  # its libraries take long to import

    choice = Choice(check_symbol(symbol) if symbol else None, _day(start), _day(end))
    if choice.start and choice.end and choice.start > choice.end:
        raise UsageError(f"--end {choice.end} is before --start {choice.start}; swap them")
    chosen = Config.from_env(published=published).file_to_read(warehouse)
    print(f"report: reading {chosen}", file=sys.stderr)
    outcome = write_report(chosen, target, choice)
    for reason in dict.fromkeys(outcome.lacking):
        print(f"report: left out: {reason}", file=sys.stderr)
    print(
        f"{target}: {size(outcome.bytes)}, written in {duration(outcome.seconds)}"
        + (f", chart of {outcome.symbol}" if outcome.symbol else "")
    )
    return 0


def _day(moment: datetime | None) -> date | None:
    return moment.date() if moment else None
