"""Small lakes made by hand, the archive of the ingest tests, and perp called in this process."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from ingest.cli import main
from ingest.datasets import VISION
from ingest.lake import FileRecord, Lake, LandingLog, LandingRecord, write_parquet
from tests.ingest.conftest import Archive, archive

__all__ = ["Archive", "archive"]

Perp = Callable[..., tuple[int, str, str]]


@pytest.fixture
def perp(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Perp:
    """Call ``perp`` with arguments; returns exit code, stdout and stderr."""

    def call(*arguments: object, **environment: object) -> tuple[int, str, str]:
        with monkeypatch.context() as patched:
            for name, value in environment.items():
                patched.setenv(name, str(value))
            patched.setattr(sys, "argv", ["perp", *map(str, arguments)])
            with pytest.raises(SystemExit) as end:
                main()
        return int(end.value.code or 0), *capfd.readouterr()

    return call


def hours(month: str, n: int) -> pa.Table:
    """The first hours of a month as klines_1h."""
    start = datetime.fromisoformat(f"{month}-01")
    times = [start + timedelta(hours=h) for h in range(n)]
    last = [t + timedelta(hours=1) - timedelta(milliseconds=1) for t in times]
    columns = {
        name: pa.array([1] * n).cast(kind)
        for name, kind in zip(
            VISION["klines_1h"].schema.names, VISION["klines_1h"].schema.types, strict=True
        )
    }
    columns |= {"open_time": times, "close_time": last}
    return pa.table(columns, schema=VISION["klines_1h"].schema)


def land_hours(lake: Lake, log: LandingLog, symbol: str, month: str, n: int = 48) -> LandingRecord:
    """Write a partition of klines_1h and log it, as an ingest does."""
    dataset, table = VISION["klines_1h"], hours(month, n)
    key = f"data/futures/um/monthly/klines/{symbol}/1h/{symbol}-1h-{month}.zip"
    file = FileRecord(f"https://x.example/{key}", month, "landed", etag="e", bytes=100, rows_in=n)
    record = LandingRecord("vision", "klines_1h", symbol, month, "landed", files=[file])
    record.first_day, record.last_day = f"{month}-01", f"{month}-28"
    record.rows_in = record.rows_out = n
    record.first_time = table["open_time"][0].as_py().isoformat()
    record.last_time = table["open_time"][-1].as_py().isoformat()
    path = lake.partition_of(record)
    record.parquet_bytes, record.parquet_sha256 = write_parquet(path, table, dataset)
    log.append(record)
    return record


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two months of two symbols."""
    made = Lake(tmp_path / "lake")
    made.prepare("sandbox")
    with contextlib.closing(LandingLog(made.log_folder, "vision")) as log:
        for symbol in ("BTCUSDT", "ETHUSDT"):
            for month in ("2024-01", "2024-02"):
                land_hours(made, log, symbol, month)
    return made
