"""Builds of the same lake by DuckDB and by Spark, and what stands in their tables."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pandas as pd

from ingest.config import PROJECT_ROOT
from tests.build import NO_UNIT_TESTS, TARGETS, read

WHOLE_STAGES = "spark.sql.codegen.wholeStage false\n"  # tables are small: compiling takes longer


@dataclass
class Engines:
    """A lake, DuckDB's file, and Spark's folder of tables and the metastore that knows them."""

    lake: Path
    duckdb: Path
    spark: Path

    def build_on_spark(self, *args: str) -> str:
        """Run dbt build on Spark; returns its output, fails the test if it fails."""
        self.spark.mkdir(parents=True, exist_ok=True)
        (self.spark / "spark-defaults.conf").write_text(WHOLE_STAGES)
        target = Path(TARGETS.name) / "spark"
        command = [Path(sys.executable).with_name("dbt"), "--no-use-colors", "--no-write-json"]
        command += ["build", "--target", "spark", *NO_UNIT_TESTS, *args]
        command += ["--project-dir", PROJECT_ROOT, "--profiles-dir", PROJECT_ROOT]
        command += ["--target-path", target, "--log-path", self.spark / "logs"]
        settings = {
            "PERP_LAKE": str(self.lake),
            "PERP_SPARK_FOLDER": str(self.spark),
            "SPARK_CONF_DIR": str(self.spark),
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
