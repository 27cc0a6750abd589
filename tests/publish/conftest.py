"""A small warehouse made by hand: tables as dbt leaves them, every row with the build's number."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from ingest.config import Config

SYMBOLS = ("ETHUSDT", "币安人生USDT", "BTCUSDT")
HOURS = 24 * 70
BUILD_LOG = """
    create table if not exists build_log (
        invocation_id string, command string, started_at timestamp, ended_at timestamp,
        is_whole boolean, n_models bigint, n_tests bigint, n_errors bigint, n_warnings bigint,
        n_skipped bigint
    )
"""
STARTS = """
    create table if not exists build_starts (
        invocation_id string, command string, started_at timestamp
    )
"""


@dataclass
class Warehouse:
    """The file of a warehouse, its published folder, and a clock for its builds."""

    config: Config
    number: int = 0
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(tzinfo=None))

    def run(self, *statements: str) -> None:
        """Execute SQL on the warehouse."""
        with contextlib.closing(duckdb.connect(str(self.config.warehouse))) as connection:
            for statement in statements:
                connection.execute(statement)

    def build(self, **outcome: object) -> str:
        """Build all tables anew, with the next number in every row; returns the invocation's id."""
        self.number += 1
        symbols = ", ".join(f"('{s}')" for s in SYMBOLS)
        hourly = f"""
            select s.symbol, timestamp '2024-01-01' + h * interval 1 hour as hour_ts,
                {self.number} as version, random() as x
            from (values {symbols}) as s (symbol), range({HOURS}) as r (h)
            order by random()
        """
        self.run(
            f"create or replace table final_dataset as {hourly}",
            f"create or replace table hourly_bars as {hourly}",
            f"""create or replace table liquidation_factors_15m as
            select symbol, hour_ts as bar_ts, version from ({hourly}) limit 100""",
            f"create or replace table int_liquidations as select {self.number} as version",
            f"create or replace table int_step as select {self.number} as version",
            "create or replace view stg_step as from int_step",
            f"create or replace view a_view as select {self.number} as version, * from int_step",
            "comment on table final_dataset is 'One row per symbol and hour'",
            "comment on column final_dataset.x is 'What it''s for'",
        )
        return self.log(**outcome)

    def log(self, command: str = "build", *, ended: bool = True, **outcome: object) -> str:
        """Record an invocation of dbt as its hooks do; returns its id."""
        name = str(uuid.uuid4())
        self.now += timedelta(minutes=1)
        row = {
            "invocation_id": name, "command": command, "started_at": self.now,
            "ended_at": self.now + timedelta(seconds=30), "is_whole": True,
            "n_models": 0 if command == "test" else 5, "n_tests": 9, "n_errors": 0,
            "n_warnings": 1, "n_skipped": 0, **outcome,
        }  # fmt: skip
        with contextlib.closing(duckdb.connect(str(self.config.warehouse))) as connection:
            connection.execute(BUILD_LOG)
            connection.execute(STARTS)
            connection.execute(
                "insert into build_starts values (?, ?, ?)", [name, command, self.now]
            )
            if ended:
                marks = ", ".join("?" * len(row))
                connection.execute(f"insert into build_log values ({marks})", list(row.values()))
        return name

    @property
    def current(self) -> Path:
        """What readers open."""
        return self.config.published / "current"

    def versions(self) -> list[str]:
        """Names of everything in the folder of versions."""
        return sorted(p.name for p in (self.config.published / "versions").iterdir())

    def published(self) -> tuple[str, int]:
        """The version that ``current`` leads to, and the number in all its rows."""
        numbers = set()
        path = self.current.resolve() / "warehouse.duckdb"
        with contextlib.closing(duckdb.connect(str(path), read_only=True)) as connection:
            for table in ("final_dataset", "hourly_bars", "int_liquidations"):
                numbers |= set(
                    connection.execute(f"select distinct version from {table}").fetchall()
                )
        assert len(numbers) == 1, numbers
        return self.current.resolve().name, numbers.pop()[0]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """A warehouse with one whole build."""
    config = Config(
        tmp_path / "lake", tmp_path / "w.duckdb", "http://127.0.0.1:9", "http://127.0.0.1:9",
        published=tmp_path / "published",
    )  # fmt: skip
    made = Warehouse(config)
    made.build()
    return made
