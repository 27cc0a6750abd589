"""What the recorder's tests share: events, and what a lake holds of them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.config import Config
from ingest.datasets import SOURCES
from ingest.lake import Lake, LandingRecord
from ingest.sandbox.stream import Message, StreamServer, force_order
from ingest.spans import Span, from_log, union_spans

FIRST = 1_735_689_600_000  # 2025-01-01


def order(number: int) -> dict[str, Any]:
    """The forced order of a number; each has a second of its own."""
    return force_order("BTCUSDT", FIRST + 1000 * number)


def numbers(lake: Path) -> list[int]:
    """Numbers of the recorded orders, one for every row."""
    times = events(lake)["trade_time"].dt.epoch("ms")
    return sorted(((times - FIRST) // 1000).to_list())


def config_for(tmp_path: Path, server: StreamServer) -> Config:
    """A lake of its own, and the server's streams."""
    return Config(
        tmp_path / "lake", tmp_path / "w.duckdb", "http://localhost", "http://localhost",
        stream_url=server.url,
    )  # fmt: skip


def events(lake: Path, source: str = "stream") -> pl.DataFrame:
    """Rows of all partitions, by trade time."""
    dataset = SOURCES[source]["liquidations"]
    tables = [
        pq.read_table(io.BytesIO(path.read_bytes()))
        for _, _, path in Lake(lake).partitions(dataset)
    ]
    table = pa.concat_tables([dataset.schema.empty_table(), *tables])
    return pl.DataFrame(table).sort("trade_time", "contract")


def record_of(lake: Path, month: str, source: str = "stream") -> LandingRecord:
    """The newest record of a month; its file must be what the record says."""
    record = Lake(lake).state(source)["liquidations", "_market", month]
    assert Lake(lake).is_intact(record)
    return record


def covered(lake: Path, source: str = "stream") -> list[Span]:
    """What the newest records say is covered."""
    records = Lake(lake).state(source).values()
    return union_spans(span for record in records for span in from_log(record.covered))


def inside(moments: pl.Series, spans: list[Span]) -> list[bool]:
    """Whether each moment is covered."""
    return [any(a <= m < b for a, b in spans) for m in moments.to_list()]


def wait_for(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Wait until something has happened."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(0.01)


def send_all(server: StreamServer, messages: list[Message]) -> None:
    """Send messages, each of which must reach a client."""
    for message in messages:
        assert server.send(message)
