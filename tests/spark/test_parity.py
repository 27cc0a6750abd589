"""Spark builds from a lake what DuckDB builds from it: keys, NULLs, values."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ingest.config import PROJECT_ROOT
from tests.build import NO_UNIT_TESTS, dbt
from tests.reference import compare
from tests.spark.engines import Engines, land_forty_days

pytestmark = [
    pytest.mark.timeout(3600),  # whole builds, on cores that others may use
    pytest.mark.skipif(
        importlib.util.find_spec("pyspark") is None,
        reason="Spark is not installed here; run: make test-spark",
    ),
]

RELATIVE = 1e-6
# Sums that cancel leave noise of the size of the last digits of their terms: a correlation of 0 is
# 1e-17 on one engine and -2e-17 on the other. 1e-12 of the largest value of a column is far below
# what a double's sixteen digits keep of such a sum.
FLOOR = 1e-12

# Columns that differ, each with the reason. Nothing else may.
EXCEPTIONS: dict[str, dict[str, str]] = {}

KEYS = {"reconciliation": ()}  # has rows that are the same: they are compared in order


def tables() -> dict[str, Sequence[str]]:
    """Marts, quality and evaluation tables, each with its key."""
    found = {}
    for folder in ("marts", "quality", "evaluation"):
        for path in sorted((PROJECT_ROOT / "dbt_project/models" / folder).glob("*.yml")):
            for model in yaml.safe_load(path.read_text())["models"]:
                tests = [t for t in model.get("data_tests", []) if isinstance(t, dict)]
                keys = [t["primary_key"] for t in tests if "primary_key" in t]
                found[model["name"]] = keys[0]["arguments"]["columns"] if keys else ()
    return found


TABLES = tables()
# A view has no rows of its own: what chooses them from final_dataset is compared.
TABLES["int_metrics_complete_hourly"] = TABLES.pop("final_dataset_metrics_complete")


def differences(table: str, duckdb: pd.DataFrame, spark: pd.DataFrame) -> list[str]:
    """How a table of Spark differs from that of DuckDB, but for what is excepted."""
    if "month" not in duckdb.columns:
        spark = spark.drop(columns="month", errors="ignore")
    assert set(duckdb.columns) == set(spark.columns), table
    keys = list(TABLES[table])
    if not keys:  # each row is its own key
        keys = ["row"]
        order = [c for c in duckdb.columns if not pd.api.types.is_float_dtype(duckdb[c])]
        duckdb, spark = (
            f.sort_values(order, ignore_index=True).rename_axis("row").reset_index()
            for f in (duckdb, spark[list(duckdb.columns)])
        )
    found = compare(duckdb, spark, RELATIVE, keys, floor=FLOOR, extra_columns=False)
    return [str(d) for d in found if d.column not in EXCEPTIONS.get(table, {})]


def factors_ranked_alike(duckdb: pd.DataFrame, spark: pd.DataFrame) -> set[str]:
    """Columns of final_dataset that order the contracts of every hour alike on both engines."""
    ranks = [
        f.set_index(["hour_ts", "symbol"])
        .sort_index()
        .select_dtypes("number")
        .groupby(level="hour_ts")
        .rank()
        for f in (duckdb, spark)
    ]
    return {name for name in ranks[0] if ranks[0][name].equals(ranks[1][name])}


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Engines:
    """Forty days of the sandbox, built by both."""
    folder = tmp_path_factory.mktemp("parity")
    out = Engines(land_forty_days(folder), folder / "w.duckdb", folder / "spark")
    dbt(out.lake, out.duckdb, "build", *NO_UNIT_TESTS, "--exclude-resource-type", "test")
    out.build_on_spark("--exclude-resource-type", "test")
    return out


@pytest.mark.parametrize("table", TABLES)
def test_spark_builds_what_duckdb_builds(engines: Engines, table: str):
    frames = engines.read_duckdb(table), engines.read_spark(table)
    if table == "factor_ic":
        # Where contracts have the same value but for the last digit, noise decides whether they
        # have one rank: such factors have another correlation on each engine.
        assert set(frames[0]["factor"]) == set(frames[1]["factor"])
        sources = engines.read_duckdb("final_dataset"), engines.read_spark("final_dataset")
        alike = factors_ranked_alike(*sources)
        assert len(alike) > 0.9 * frames[0]["factor"].nunique()
        duckdb, spark = (f[f["factor"].isin(alike)] for f in frames)
        frames = duckdb, spark
    found = differences(table, *frames)
    assert not found, "\n".join(found)


def test_what_is_excepted_differs(engines: Engines):
    for table, columns in EXCEPTIONS.items():
        frames = engines.read_duckdb(table), engines.read_spark(table)
        found = compare(*frames, RELATIVE, list(TABLES[table]), floor=FLOOR)
        assert columns.keys() <= {d.column for d in found}, table


def test_a_difference_would_be_seen(engines: Engines):
    right = engines.read_duckdb("hourly_volatility")
    wrong = engines.read_spark("hourly_volatility")
    at = wrong.index[wrong["rv_l2"] > 0][0]
    wrong.loc[at, "rv_l2"] *= 1 + 1e-5
    found = differences("hourly_volatility", right, wrong)
    assert len(found) == 1
    assert "rv_l2" in found[0]


def test_nothing_lands_in_the_project(engines: Engines):
    for name in ("metastore_db", "derby.log", "spark-warehouse"):
        assert not (Path.cwd() / name).exists()
        assert not (PROJECT_ROOT / name).exists()
