"""Gather the sections, put them into a page, write the page."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from ingest.errors import UsageError
from ingest.names import unknown_symbol
from ingest.progress import Progress
from ingest.report import factors, sections
from ingest.report.page import render
from ingest.report.reader import Reader, Section, open_warehouse
from ingest.store import temporary, write_atomic

_LONG_AGO, _FAR_AHEAD = datetime(1970, 1, 1), datetime(2200, 1, 1)


@dataclass(frozen=True)
class Choice:
    """What the report is to show.

    Attributes:
        symbol: of the chart; without it BTCUSDT, or else the one with the most hours.
        start, end: first and last day, UTC; without them everything.
    """

    symbol: str | None = None
    start: date | None = None
    end: date | None = None


@dataclass(frozen=True)
class Outcome:
    """What has been written: bytes of the page, seconds that it took, and what it lacks."""

    bytes: int
    seconds: float
    symbol: str | None
    lacking: list[str]


def write_report(warehouse: Path, target: Path, choice: Choice) -> Outcome:
    """Write the page; ``target`` holds either its old content or all of the new one.

    Raises UsageError if there is no warehouse or the page cannot be written, PerpError if the
    warehouse cannot be read.
    """
    started = time.monotonic()
    start = datetime.combine(choice.start, datetime.min.time()) if choice.start else _LONG_AGO
    end = datetime.combine(choice.end, datetime.min.time()) if choice.end else None
    _check_target(target)
    warehouse = warehouse.resolve()  # one published version, whatever is published meanwhile
    with open_warehouse(warehouse, start, end + timedelta(days=1) if end else _FAR_AHEAD) as reader:
        gathered = _gather(reader, choice)
        page = render(gathered | {"facts": _facts(warehouse, choice)}).encode()
    try:
        write_atomic(target, page)
    except OSError as error:
        temporary(target).unlink(missing_ok=True)
        raise UsageError(f"cannot write {target}: {error.strerror}; give another --to") from error
    return Outcome(
        bytes=len(page),
        seconds=time.monotonic() - started,
        symbol=gathered["symbol"].get("symbol"),
        lacking=[str(s["lacking"]) for s in gathered.values() if "lacking" in s],
    )


def _check_target(target: Path) -> None:
    """Say before the work what would make it useless."""
    if target.is_dir():
        raise UsageError(f"{target} is a folder; give the name of a file, such as report.html")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {target.absolute().parent}; make it first")
    if not os.access(target.absolute().parent, os.W_OK):
        raise UsageError(f"cannot write into {target.absolute().parent}; give another --to")


def _gather(reader: Reader, choice: Choice) -> dict[str, Section]:
    _check_symbol(reader, choice.symbol)
    parts: dict[str, Callable[[], Section]] = {
        "headline": lambda: sections.headline(reader),
        "builds": lambda: sections.builds(reader),
        "coverage": lambda: sections.coverage(reader),
        "gaps": lambda: sections.gaps(reader),
        "landing": lambda: sections.landing(reader),
        "reconciliation": lambda: sections.reconciliation(reader),
        "symbol": lambda: sections.one_symbol(reader, choice.symbol),
        "evaluation": lambda: sections.evaluation(reader),
    }
    gathered = {}
    with Progress("report", len(parts) + factors.n_batches(reader), "queries") as progress:
        for name, gather in parts.items():
            gathered[name] = gather()
            progress.finish_one()
        gathered["factors"] = factors.factor_health(reader, progress.finish_one)
    return gathered


def _check_symbol(reader: Reader, symbol: str | None) -> None:
    if symbol is None or reader.lacks("final_dataset", "symbol"):
        return
    known = [r[0] for r in reader.rows("select distinct symbol from final_dataset")]
    if known and symbol not in known:
        raise unknown_symbol(symbol, known, "final_dataset has")


def _facts(warehouse: Path, choice: Choice) -> Section:
    """What the page says about itself."""
    limits = [f"from {choice.start}"] if choice.start else []
    limits += [f"to {choice.end}"] if choice.end else []
    folder = warehouse.parent
    return {
        "made_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        "warehouse": warehouse.name,
        "version": folder.name if folder.parent.name == "versions" else None,
        "bytes": warehouse.stat().st_size,
        "limits": " ".join(limits),
    }
