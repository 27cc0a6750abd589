"""What the lake holds: per dataset and symbol, months landed, missing and why."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from ingest.datasets import SOURCES
from ingest.lake import Lake, LandingRecord


@dataclass
class Holding:
    """The state of one (source, dataset, symbol)."""

    source: str
    dataset: str
    symbol: str
    landed: list[str] = field(default_factory=list)  # months with a partition
    missing: dict[str, str] = field(default_factory=dict)  # month -> reason
    quarantined: list[str] = field(default_factory=list)  # what is wrong, one line a file
    failed: list[str] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    last_landing: str | None = None


def holdings(lake: Lake) -> list[Holding]:
    """State of every (source, dataset, symbol) on record, the archive first."""
    result = []
    for source in SOURCES:
        by_pair: dict[tuple[str, str], list[LandingRecord]] = defaultdict(list)
        for record in lake.state(source).values():
            by_pair[record.dataset, record.symbol].append(record)
        result += [_holding(lake, pair, records) for pair, records in sorted(by_pair.items())]
    return result


def _holding(lake: Lake, pair: tuple[str, str], records: list[LandingRecord]) -> Holding:
    holding = Holding(records[0].source, *pair)
    records.sort(key=lambda r: r.month)
    for record in records:
        for file in [] if record.spec.made_with else record.files:
            if file.outcome == "quarantined":
                holding.quarantined.append(file.error or file.url)
            elif file.outcome == "failed":
                holding.failed.append(file.error or file.url)
        if record.parquet_bytes is None:
            holding.missing[record.month] = record.status
        elif not lake.is_intact(record):
            holding.missing[record.month] = "damaged: the file differs from its log record"
        else:
            holding.landed.append(record.month)
            holding.rows += record.rows_out
            holding.bytes += record.parquet_bytes
            holding.last_landing = max(holding.last_landing or "", record.landed_at)
    return holding


def month_ranges(months: list[str]) -> str:
    """``2024-01…2024-03, 2024-05`` for a sorted list of months."""
    parts: list[list[str]] = []
    for month in months:
        if parts and _next(parts[-1][-1]) == month:
            parts[-1] = [parts[-1][0], month]
        else:
            parts.append([month])
    return ", ".join("…".join(dict.fromkeys(p)) for p in parts)


def _next(month: str) -> str:
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"
