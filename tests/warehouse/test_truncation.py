"""A row never changes when later data arrives: a lake cut at T gives the rows known by T."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from ingest.datasets import SOURCES, Dataset
from ingest.lake import Lake, write_parquet
from ingest.spans import clip, from_log, to_log
from tests.build import dbt, read
from tests.conftest import Warehouse
from tests.reference import compare

MARTS = [
    "hourly_bars",
    "hourly_funding",
    "hourly_cleaned",
    "hourly_open_interest",
    "hourly_momentum",
    "hourly_volatility",
    "hourly_context",
    "hourly_order_flow",
    "hourly_liquidations",
    "liquidation_factors_1h",
    "liquidation_factors_15m",
    "hourly_structure",
    "hourly_transforms",
    "hourly_signals",
    "hourly_ticker",
    "final_dataset",
    "final_dataset_metrics_complete",
]

# When a row of a dataset is known, as SQL over its columns.
KNOWN_AT = {
    "vision/funding_rate": "date_trunc('minute', calc_time + interval 30 second)",
    "vision/metrics": "time_bucket(interval 5 minute, create_time) + interval 5 minute",
    "vision/liquidation_snapshot": "time",
    "vision/agg_trades_1m": "minute_ts + interval 1 minute",
    "vision/agg_trade_sizes_1h": "hour_ts + interval 1 hour",
    "vision/agg_trades": "transact_time",
    "api/funding_rate": "date_trunc('minute', funding_time + interval 30 second)",
    "import/liquidations": "trade_time",
}
BAR_KNOWN_AT = "close_time + interval 1 millisecond"
STATISTIC_KNOWN_AT = "timestamp + interval 5 minute"


def known_at(dataset: Dataset) -> str:
    """When a row is known, as SQL."""
    if known := KNOWN_AT.get(f"{dataset.source}/{dataset.name}"):
        return known
    if "close_time" in dataset.schema.names:
        return BAR_KNOWN_AT
    return STATISTIC_KNOWN_AT if dataset.name.endswith("_5m") else dataset.time_column


def cut_record(record: dict[str, Any], moment: datetime) -> dict[str, Any]:
    """A landing record with the coverage that it had at ``moment``."""
    covered = clip(from_log(record["covered"]), datetime.min, moment)
    return {**record, "covered": to_log(covered)}


def cut(source: Path, target: Path, moment: datetime) -> None:
    """Copy a lake without what was not yet known at ``moment``."""
    Lake(target).prepare("sandbox")
    for log in (source / "_log").glob("*.jsonl"):
        lines = [cut_record(json.loads(line), moment) for line in log.read_text().splitlines()]
        (target / "_log" / log.name).write_text("".join(json.dumps(r) + "\n" for r in lines))
    for dataset in (d for datasets in SOURCES.values() for d in datasets.values()):
        for symbol, month, path in Lake(source).partitions(dataset):
            goal = Lake(target).partition(dataset, symbol, month)
            if month < f"{moment:%Y-%m}" and moment.day > 1:  # all of it was known by then
                goal.parent.mkdir(parents=True)
                goal.hardlink_to(path)
                continue
            table = duckdb.sql(
                f"select * from read_parquet('{path}', hive_partitioning = false) "
                f"where {known_at(dataset)} <= '{moment}'"
            ).to_arrow_table()
            if table.num_rows:
                write_parquet(goal, table.cast(dataset.schema), dataset)


CUTS = [
    datetime(2024, 2, 13, 9, 17, 30),  # just after a listing, inside an hour
    datetime(2024, 3, 11, 2, 31),  # the archive has ended, the API goes on
]
MORE_CUTS = [
    datetime(2024, 2, 10, 4, 0),  # a changing funding cycle, on the hour
    datetime(2024, 2, 20, 7, 31),  # just after an outage
    datetime(2024, 3, 4, 12, 55),  # labels have changed, one file is quarantined
]
DEEP_CUTS = [pytest.param(moment, marks=pytest.mark.deep) for moment in MORE_CUTS]


@pytest.mark.parametrize("moment", [*CUTS, *DEEP_CUTS], ids=str)
def test_rows_known_by_then_are_the_same(sandbox: Warehouse, tmp_path: Path, moment: datetime):
    cut(sandbox.lake, tmp_path / "lake", moment)
    warehouse = tmp_path / "w.duckdb"
    horizon = moment.replace(minute=0, second=0)
    dbt(tmp_path / "lake", warehouse, "build", "--exclude", "path:dbt_project/models/quality",
        "tag:evaluation", "--exclude-resource-type", "unit_test", "--exclude-resource-type", "test",
        horizon=str(horizon))  # fmt: skip
    for mart in MARTS:
        whole = read(sandbox.path, f"select * from {mart} where bar_end_time <= '{horizon}'")
        truncated = read(warehouse, mart)
        assert len(truncated) > 5000
        assert truncated["bar_end_time"].max() == pd.Timestamp(horizon)
        keys = ["symbol", "bar_ts" if "bar_ts" in whole else "hour_ts"]
        differences = compare(whole, truncated, keys=keys, rel=1e-12, floor=0, extra_columns=False)
        assert not differences, f"{mart}: " + "\n".join(str(d) for d in differences)
    events = "select * from int_liquidations where available_time < '{}' order by all"
    whole = read(sandbox.path, events.format(horizon))
    assert len(whole) > 1000
    pd.testing.assert_frame_equal(read(warehouse, events.format(horizon)), whole)
