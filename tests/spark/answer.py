"""Runs queries of standard input, a JSON list, on Spark; writes their rows, or errors, as JSON."""

from __future__ import annotations

import json
import sys
import tempfile

from pyspark.sql import SparkSession


def answer(spark: SparkSession, query: str) -> list[list[object]] | str:
    """Rows of a query."""
    try:
        return [list(row) for row in spark.sql(query).collect()]
    except Exception as error:  # whatever it is, the test shows it
        return f"{query}\n{str(error)[:2000]}"


def main() -> None:
    """Answer all."""
    with tempfile.TemporaryDirectory() as folder:
        spark = (
            SparkSession.builder.master("local[1]")
            .config("spark.driver.memory", "1g")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.sql.warehouse.dir", folder)
            .config("spark.sql.shuffle.partitions", "1")
            .getOrCreate()
        )
        rows = [answer(spark, query) for query in json.load(sys.stdin)]
        spark.stop()
    json.dump(rows, sys.stdout, default=str)


if __name__ == "__main__":
    main()
