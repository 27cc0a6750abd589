"""A lake, builds of it by DuckDB and by Spark, and what stands in their tables."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd

from ingest.config import PROJECT_ROOT, Config
from ingest.datasets import own_files
from ingest.run import Options, ingest_archive
from ingest.sandbox import live
from ingest.sandbox.archive import build_archive
from ingest.sandbox.scenario import END, SYMBOLS, live_markets
from ingest.sandbox.server import ArchiveServer
from tests.build import NO_UNIT_TESTS, TARGETS, read

# Tables are small: to compile stages, to plan again after each and to divide rows takes longer than
# to read them.
SMALL_TABLES = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.adaptive.enabled": "false",
}

# Forty days: less would leave columns without a value that look back 720 hours and want 504.
# All contracts, as columns that compare them want ten in an hour; more rows cost Spark little, each
# month a statement of every table.
FIRST_DAY = date(2024, 2, 1)


def land_forty_days(folder: Path) -> Path:
    """The sandbox's exchange and live sources from FIRST_DAY on; returns the lake's folder."""
    build_archive(folder / "archive")
    with ArchiveServer(folder / "archive") as server:
        config = Config(
            folder / "lake", folder / "w.duckdb", server.archive_url, server.listing_url
        )
        ingest_archive(config, own_files(), list(SYMBOLS), FIRST_DAY, END, Options())
    markets = live_markets()
    live.pull(config, markets)
    live.buy(config, markets)
    live.capture(config, markets, folder / "captures")
    live.record(config, markets)
    return config.lake


@dataclass
class Engines:
    """A lake, DuckDB's file, and Spark's folder of tables and the metastore that knows them."""

    lake: Path
    duckdb: Path
    spark: Path

    def build_on_spark(self, *args: str) -> str:
        """Run dbt build on Spark; returns its output, fails the test if it fails."""
        self.spark.mkdir(parents=True, exist_ok=True)
        lines = [f"{name} {value}\n" for name, value in SMALL_TABLES.items()]
        (self.spark / "spark-defaults.conf").write_text("".join(lines))
        target = Path(TARGETS.name) / "spark"
        command = [Path(sys.executable).with_name("dbt"), "--no-use-colors", "--no-write-json"]
        command += ["build", "--target", "spark", *NO_UNIT_TESTS, *args]
        command += ["--project-dir", PROJECT_ROOT, "--profiles-dir", PROJECT_ROOT]
        command += ["--target-path", target, "--log-path", self.spark / "logs"]
        settings = {
            "PERP_LAKE": str(self.lake),
            "PERP_SPARK_FOLDER": str(self.spark),
            "SPARK_CONF_DIR": str(self.spark),
            "PERP_SPARK_PARTITIONS": "1",
        }
        done = subprocess.run(
            command, cwd=self.spark, env={**os.environ, **settings}, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    def read_duckdb(self, table: str) -> pd.DataFrame:
        """A table as DuckDB built it."""
        return read(self.duckdb, table)

    def read_spark(self, table: str) -> pd.DataFrame:
        """A table as Spark built it, with the column that it is partitioned by."""
        folder = self.spark / "tables/perp.db" / table
        files = f"{folder}/**/*.parquet"
        months = ", hive_types = {'month': varchar}" if any(folder.glob("month=*")) else ""
        return duckdb.sql(f"from read_parquet('{files}', hive_partitioning = true{months})").df()
