"""A small archive of two symbols on loopback, and a way to ingest from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import pytest

from ingest.config import Config
from ingest.lake import Lake
from ingest.run import Options, Summary, ingest_archive
from ingest.sandbox.server import ArchiveServer
from ingest.sources.downloads import Retry
from tests.mirror import put_zip

HOUR_MS = 3_600_000


def hour_bars(day: date, hours: int = 24, close: float = 10.0) -> list[str]:
    """CSV lines of 1h klines of a day."""
    start = int(datetime(day.year, day.month, day.day).timestamp() * 1000)
    return [
        f"{t},10,11,9,{close},5,{t + HOUR_MS - 1},50,3,2,20,0"
        for t in range(start, start + hours * HOUR_MS, HOUR_MS)
    ]


def key(symbol: str, period: str, dataset: str = "klines/{s}/1h/{s}-1h") -> str:
    """Archive key of a kline file."""
    cadence = "monthly" if len(period) == 7 else "daily"
    return f"data/futures/um/{cadence}/{dataset.format(s=symbol)}-{period}.zip"


@dataclass
class Archive:
    """The served folder, its server, and a lake to land in."""

    root: Path
    server: ArchiveServer
    config: Config
    options: Options = field(
        default_factory=lambda: Options(
            connections=4, workers=1, retry=Retry(attempts=3, base_seconds=0.01)
        )
    )

    def put(self, symbol: str, period: str, lines: list[str]) -> Path:
        """Publish (or replace) a 1h kline file."""
        path = put_zip(self.root, key(symbol, period), "\n".join(lines).encode())
        self.server.refresh()
        return path

    def put_month(self, symbol: str, month: str, skip: tuple[int, ...] = ()) -> Path:
        """Publish a monthly 1h kline file, without some days."""
        first = date.fromisoformat(f"{month}-01")
        days = [date(first.year, first.month, d) for d in range(1, 32) if d not in skip]
        return self.put(symbol, month, [line for d in days for line in hour_bars(d)])

    def ingest(self, symbols=("BTCUSDT", "ETHUSDT"), start="2024-01-01", end="2024-01-31", **kw):
        """Ingest 1h klines; returns the summary."""
        return self.plan_and_ingest(symbols, start, end, **kw)[1]

    def plan_and_ingest(self, symbols, start, end, **kw) -> tuple[object, Summary]:
        return ingest_archive(
            self.config,
            ["klines_1h"],
            list(symbols),
            date.fromisoformat(start),
            date.fromisoformat(end),
            self.options,
            **kw,
        )

    @property
    def lake(self) -> Lake:
        return Lake(self.config.lake)

    def record(self, symbol: str = "BTCUSDT", month: str = "2024-01"):
        """Newest log record of a partition."""
        return self.lake.state("vision")["klines_1h", symbol, month]

    def contents(self) -> dict[str, str]:
        """sha256 of every data file of the lake."""
        return lake_contents(self.config.lake)


def lake_contents(root: Path) -> dict[str, str]:
    """sha256 of every data file of a lake, by relative path."""
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.glob("*/*/symbol=*/month=*/data.parquet"))
    }


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """January 2024 of BTCUSDT and ETHUSDT, 1h klines, monthly files."""
    root = tmp_path / "archive"
    root.mkdir()
    with ArchiveServer(root, page_size=7) as server:
        config = Config(
            tmp_path / "lake", tmp_path / "w.duckdb", server.archive_url, server.listing_url
        )
        made = Archive(root, server, config)
        made.put_month("BTCUSDT", "2024-01")
        made.put_month("ETHUSDT", "2024-01")
        yield made
