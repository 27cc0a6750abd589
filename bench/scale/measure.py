"""What a build costs: time, memory and spill of the process, and seconds, rows and bytes of models.

Seconds of models are those that dbt states; several threads work at once, so their sum may exceed
the time that passed. ``busy`` counts a moment once, however many threads were at work in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb

from ingest.config import PROJECT_ROOT
from ingest.warehouse import quoted

SAMPLED_EVERY = 0.2  # seconds
PAGE = os.sysconf("SC_PAGE_SIZE")
LAKE_LOG = "source.perp_warehouse.lake."  # what models read of the log is no data
FACTOR = "rv_l2"

Interval = tuple[datetime, datetime]


# ------------------------------------------------------------------------------------- processes
@dataclass
class Run:
    """A process and its children: seconds and the most it needed at any moment, in MB."""

    wall: float
    cpu: float
    memory_mb: float
    spill_mb: float
    exit_code: int


def run(command: Sequence[str | Path], environment: dict[str, str], spill: Path, log: Path) -> Run:
    """Run a command in the project's folder and watch it.

    Args:
        spill: folder whose size is taken for what was spilled.
        log: gets what the command prints.
    """
    started = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env={**os.environ, **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        most = {"memory": 0, "spill": 0}
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(SAMPLED_EVERY):
                most["memory"] = max(most["memory"], _resident(process.pid))
                most["spill"] = max(most["spill"], size_of(spill))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            ended.set()
            watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    return Run(
        wall=time.monotonic() - started,
        cpu=usage.ru_utime + usage.ru_stime,
        memory_mb=most["memory"] / 1e6,
        spill_mb=most["spill"] / 1e6,
        exit_code=process.returncode,
    )


def _resident(pid: int) -> int:
    """Bytes that a process and its children hold in memory."""
    total = 0
    with contextlib.suppress(OSError):  # it has ended meanwhile
        total = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                total += _resident(int(child))
    return total


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder, 0 if there is none."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


# ---------------------------------------------------------------------------------------- builds
@dataclass(frozen=True)
class Warehouse:
    """A lake and its warehouse in a folder of their own."""

    folder: Path
    memory_limit: str

    @property
    def lake(self) -> Path:
        """The lake."""
        return self.folder / "lake"

    @property
    def path(self) -> Path:
        """The DuckDB file."""
        return self.folder / "warehouse.duckdb"

    @property
    def environment(self) -> dict[str, str]:
        """Where the project finds it."""
        return {
            "PERP_LAKE": str(self.lake),
            "PERP_WAREHOUSE": str(self.path),
            "PERP_PUBLISHED": str(self.folder / "published"),
            "PERP_MEMORY_LIMIT": self.memory_limit,
        }

    def forget(self) -> None:
        """Remove all but the lake."""
        for name in ("warehouse.duckdb", "warehouse.duckdb.wal"):
            (self.folder / name).unlink(missing_ok=True)
        for name in ("target", "published", "warehouse.duckdb.tmp"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def build(self, name: str, select: Sequence[str], *, unit_tests: bool) -> Build:
        """Run ``dbt build``; raises SystemExit if dbt did not get as far as its models."""
        target, log = self.folder / "target", self.folder / f"{name.replace(' ', '_')}.log"
        (target / "run_results.json").unlink(missing_ok=True)
        command = [_program("dbt"), "build", "--no-use-colors"]
        command += ["--target-path", target, "--log-path", target]
        if not unit_tests:
            command += ["--exclude-resource-type", "unit_test"]
        if select:  # and the tests that need nothing else
            command += ["--indirect-selection", "cautious", "--select", *select]
        done = run(command, self.environment, self.folder / "warehouse.duckdb.tmp", log)
        try:
            results = json.loads((target / "run_results.json").read_text())
        except FileNotFoundError:
            raise SystemExit(f"dbt build ({name}) did not run; {log} says why") from None
        return Build(
            name, done, results["results"], json.loads((target / "manifest.json").read_text())
        )

    def publish(self) -> Run:
        """Run ``perp publish``; raises SystemExit if it fails."""
        log = self.folder / "publish.log"
        done = run([_program("perp"), "publish"], self.environment, self.folder / "none", log)
        if done.exit_code:
            raise SystemExit(f"perp publish ended with {done.exit_code}; {log} says why")
        return done

    def tables(self) -> dict[str, Table]:
        """Rows and bytes of every table."""
        with duckdb.connect(str(self.path), read_only=True) as connection:
            block = connection.execute("select block_size from pragma_database_size()").fetchone()
            names = connection.execute(
                "select table_name from duckdb_tables() where schema_name = 'main'"
            ).fetchall()
            assert block
            return {name: _table(connection, name, block[0]) for (name,) in sorted(names)}


@dataclass(frozen=True)
class Table:
    """Size of a table; ``bytes`` in whole blocks, which small tables share."""

    rows: int
    bytes: int


def _table(connection: duckdb.DuckDBPyConnection, name: str, block: int) -> Table:
    rows = connection.execute(f"select count(*) from {quoted(name)}").fetchone()
    blocks = connection.execute(
        """
        select count(distinct block) from (
            select unnest([block_id] || additional_block_ids) as block
            from pragma_storage_info(?) where persistent
        ) where block >= 0
        """,
        [name],
    ).fetchone()
    assert rows
    assert blocks
    return Table(rows[0], blocks[0] * block)


def _program(name: str) -> Path:
    return Path(sys.executable).with_name(name)


@dataclass
class Cost:
    """Seconds of a group of nodes: all added up, and those in which one of them was at work."""

    nodes: int = 0
    seconds: float = 0.0
    busy: float = 0.0


@dataclass
class Build:
    """One ``dbt build``: what the process needed and what dbt says of every node."""

    name: str
    run: Run
    results: list[dict[str, Any]]
    manifest: dict[str, Any] = field(repr=False)

    @cached_property
    def seconds(self) -> dict[str, float]:
        """Of every model."""
        return {
            r["unique_id"].split(".")[-1]: r["execution_time"]
            for r in self.results
            if r["unique_id"].startswith("model.")
        }

    @property
    def failed(self) -> list[str]:
        """Nodes that ended in error, or were left out because of one."""
        bad = ("error", "fail", "runtime error", "skipped")
        return [r["unique_id"] for r in self.results if r["status"] in bad]

    def costs(self) -> dict[str, Cost]:
        """By group: models on files of the lake, models on tables alone, tests."""
        groups: dict[str, Cost] = defaultdict(Cost)
        at_work: dict[str, list[Interval]] = defaultdict(list)
        for result in self.results:
            group = self._group(result["unique_id"])
            groups[group].nodes += 1
            groups[group].seconds += result["execution_time"]
            spans = [t for t in result["timing"] if t["started_at"] and t["completed_at"]]
            if spans:
                times = [
                    datetime.fromisoformat(t[end])
                    for t in (spans[0], spans[-1])
                    for end in ("started_at", "completed_at")
                ]
                at_work[group].append((times[0], times[-1]))
        for group, intervals in at_work.items():
            groups[group].busy = covered(intervals)
        return dict(groups)

    def _group(self, node: str) -> str:
        kind = node.split(".")[0]
        if kind == "model":
            return "minute models" if node in self._on_lake else "hourly models"
        return {"test": "tests", "unit_test": "unit tests"}.get(kind, "other")

    @cached_property
    def _on_lake(self) -> set[str]:
        """Models that read files of the lake, themselves or by way of views."""
        found: set[str] = set()
        nodes: dict[str, Any] = self.manifest["nodes"]

        def reads(name: str) -> bool:
            if name.startswith("source."):
                return not name.startswith(LAKE_LOG)
            node = nodes.get(name)
            if node is None or not name.startswith("model."):
                return False
            return node["config"]["materialized"] == "view" and any(
                map(reads, node["depends_on"]["nodes"])
            )

        for name, node in nodes.items():
            if name.startswith("model.") and any(map(reads, node["depends_on"]["nodes"])):
                found.add(name)
        return found

    def summary(self) -> dict[str, Any]:
        """For the record."""
        return {
            **{k: round(v, 2) for k, v in asdict(self.run).items()},
            "failed": self.failed,
            "groups": {
                name: {k: round(v, 2) for k, v in asdict(cost).items()}
                for name, cost in sorted(self.costs().items())
            },
        }


def covered(intervals: Iterable[Interval]) -> float:
    """Seconds that lie in at least one interval."""
    total, reached = 0.0, None
    for start, end in sorted(intervals):
        begin = start if reached is None else max(start, reached)
        total += max((end - begin).total_seconds(), 0.0)
        reached = end if reached is None else max(end, reached)
    return total


# --------------------------------------------------------------------------------------- queries
def ask(published: Path, symbol: str, limit: str) -> dict[str, dict[str, float]]:
    """Seconds of ad-hoc queries on what is published, all rows fetched: the first time in a
    new connection, and the median of five more."""
    sources = {
        "DuckDB": "final_dataset",
        "Parquet": f"read_parquet('{published}/parquet/final_dataset/*/data.parquet')",
    }
    queries = {
        "rank of one factor across the section": f"""
            select symbol, hour_ts, rank() over (partition by hour_ts order by {FACTOR}) as place
            from {{source}}""",
        "all columns and hours of a symbol": f"""
            from {{source}} where symbol = '{symbol}'""",
    }
    seconds: dict[str, dict[str, float]] = {}
    for what, query in queries.items():
        for kind, source in sources.items():
            path = published / "warehouse.duckdb"
            with duckdb.connect(str(path), read_only=True, config={"memory_limit": limit}) as on:
                taken = [_seconds(on, query.format(source=source)) for _ in range(6)]
            seconds[f"{what}, {kind}"] = {
                "first": round(taken[0], 3),
                "median": round(statistics.median(taken[1:]), 3),
            }
    return seconds


def _seconds(connection: duckdb.DuckDBPyConnection, query: str) -> float:
    started = time.monotonic()
    connection.sql(query).to_arrow_table()
    return time.monotonic() - started
