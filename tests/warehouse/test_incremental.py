"""Incremental equals full: whatever the order of landing, and whatever comes late."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.datasets import VISION
from ingest.lake import Lake, LandingLog
from tests.build import NO_UNIT_TESTS, dbt, read, try_dbt
from tests.conftest import Warehouse
from tests.lakes import land, land_partition
from tests.reference import compare
from tests.warehouse.test_truncation import MARTS

ORDER = ["2024-01", "2024-03", "2024-02"]  # the middle last
OF_LAST_PRICES = {
    "int_klines_hourly",
    "int_bars_hourly",
    "int_quote_volume_15m",
    "int_minute_factors_hourly",
    "int_price_triad_hourly",
    "int_basis_hourly",
}
LOOKS_BACK = "int_size_classes_hourly"  # at thresholds, which hang on what was before
OF_TICKS = {
    "int_order_flow_hourly",
    "int_tick_defects_in_hours",
    "int_trade_sizes_daily",
}
MONTHLY = OF_LAST_PRICES | {"int_premium_hourly", "int_price_minutes_hourly"} | OF_TICKS
OF_TICKERS = {"int_ticker_hourly": {"2024-03"}}  # the vendor's, of two days
CARRIED = {
    LOOKS_BACK,
    "int_grid_hours",
    "int_hourly_spine",
    "int_magnet_hourly",
    "int_slot_gaps",
    "int_supertrend_hourly",
}
OF_METRICS = {"int_metrics", "int_metrics_hourly"}
OF_QUALITY = {"metrics_files", "reconciliation", "reconciliation_summary"}
TABLES = MONTHLY | CARRIED | OF_METRICS | {*OF_TICKERS, "int_size_thresholds", *MARTS}
QUERIES = {  # a list is compared as a text, and rows that are the same are counted
    "int_magnet_hourly": "select * replace (cast(map as varchar) as map) from int_magnet_hourly",
    "int_klines_hourly": """
        select * replace (cast(bar_quote_volumes as varchar) as bar_quote_volumes)
        from int_klines_hourly""",
    "reconciliation": """
        select check_name, dataset_a, dataset_b, symbol, ts, field, cause,
            count(*) as n_rows, sum(value_a) as value_a, sum(value_b) as value_b
        from reconciliation group by all""",
}
KEYS = {  # where they are not symbol and hour
    "int_grid_hours": ("dataset", "symbol", "hour_ts"),
    "int_metrics": ("symbol", "bucket_ts"),
    "int_price_minutes_hourly": ("dataset", "symbol", "hour_ts"),
    "int_quote_volume_15m": ("symbol", "bar_ts"),
    "liquidation_factors_15m": ("symbol", "bar_ts"),
    "int_slot_gaps": ("dataset", "symbol", "gap_start"),
    "int_trade_sizes_daily": ("symbol", "day", "bin"),
    "int_size_thresholds": ("symbol", "listing_segment", "day"),
    "metrics_files": ("symbol", "file_date"),
    "reconciliation": ("check_name", "dataset_a", "dataset_b", "symbol", "ts", "field", "cause"),
    "reconciliation_summary": ("check_name", "dataset", "symbol", "month"),
    "int_tick_defects_in_hours": ("symbol", "reason", "defect_start", "defect_end"),
}


def land_month(source: Path, target: Path, month: str) -> None:
    """What a run that asked for this month only would have left in the lake."""
    Lake(target).prepare("vision")
    for path in source.glob(f"*/*/symbol=*/month={month}/data.parquet"):
        goal = target / path.relative_to(source)
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, goal)
    for path in sorted((source / "_log").glob("*.jsonl")):
        lines = [x for x in path.read_text().splitlines() if json.loads(x)["month"] == month]
        with (target / "_log" / path.name).open("a") as log:
            log.writelines(line + "\n" for line in lines)


def run(lake: Path, warehouse: Path, *args: str, **variables: object) -> dict[str, set[str]]:
    """Build all but the quality tables; returns which months each model was built for."""
    left_out = ("--exclude", "path:dbt_project/models/quality", "tag:evaluation",
                "--exclude-resource-type", "test")  # fmt: skip
    return months_built(
        dbt(lake, warehouse, "build", *left_out, *NO_UNIT_TESTS, *args, **variables)
    )


def build_with_tests(lake: Path, warehouse: Path) -> dict[str, set[str]]:
    """Build the quality tables too, and run all data tests."""
    left_out = ("--exclude", "tag:evaluation", *NO_UNIT_TESTS)
    return months_built(dbt(lake, warehouse, "build", *left_out))


def months_built(out: str) -> dict[str, set[str]]:
    built: dict[str, set[str]] = {}
    line = r"(\w+): (\d{4}-\d{2})(?: to (\d{4}-\d{2}))? \(\d+ of \d+\)"
    for model, first, last in re.findall(line, out):
        months = pd.period_range(first, last or first, freq="M")
        built.setdefault(model, set()).update(map(str, months))
    return built


def check_built(built: dict[str, set[str]], month: str, following: set[str]) -> None:
    """A month has landed: it is built, and where rows hang on what was before, what follows too."""
    monthly = {model: months for model, months in built.items() if model in MONTHLY}
    assert monthly == {model: {month} for model in MONTHLY}
    carried = {model: months for model, months in built.items() if model not in MONTHLY}
    assert set(carried) >= CARRIED | OF_METRICS
    for model, months in carried.items():
        assert months == OF_TICKERS.get(model, {month} | following), model


def check_same(left: Path, right: Path, tables: set[str] = TABLES) -> None:
    for table in sorted(tables):
        query = QUERIES.get(table, table)
        frames = [read(p, query) for p in (left, right)]
        keys = KEYS.get(table, ("symbol", "hour_ts"))
        differences = compare(*frames, rel=1e-12, keys=keys, floor=0)
        assert not differences, f"{table}: " + "\n".join(str(d) for d in differences)


@pytest.fixture(scope="module")
def grown(sandbox: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A lake that grew month by month in an odd order, built after each, a month at a time."""
    folder = tmp_path_factory.mktemp("grown")
    lake, warehouse = folder / "lake", folder / "w.duckdb"
    land_month(sandbox.lake, lake, "2024-01")
    check_built(run(lake, warehouse, batch_months=1), "2024-01", set())
    land_month(sandbox.lake, lake, "2024-03")
    built = run(lake, warehouse, batch_months=1)
    # rows of a contract go on for a while after its last trade: into a month that has not landed
    assert built["hourly_bars"] == {"2024-02", "2024-03"}
    assert built["int_klines_hourly"] == {"2024-03"}
    land_month(sandbox.lake, lake, "2024-02")
    check_built(run(lake, warehouse, batch_months=1), "2024-02", {"2024-03"})
    return lake, warehouse


def test_months_in_any_order_equal_one_build(sandbox: Warehouse, grown: tuple[Path, Path]):
    check_same(sandbox.path, grown[1])


def test_nothing_new_builds_nothing(grown: tuple[Path, Path]):
    assert run(*grown) == {}


def test_what_comes_late_rebuilds_its_month_and_what_its_windows_reach(
    grown: tuple[Path, Path], tmp_path: Path
):
    lake, warehouse = tmp_path / "lake", tmp_path / "w.duckdb"
    shutil.copytree(grown[0], lake)
    shutil.copy(grown[1], warehouse)
    assert build_with_tests(lake, warehouse).keys() == OF_QUALITY  # `run` left them out
    before = read(warehouse, "final_dataset")

    minutes = duckdb.sql(
        f"""select * exclude (month) from read_parquet(
            '{lake}/vision/klines_1m/symbol=BTCUSDT/month=2024-02/data.parquet',
            hive_partitioning = true, hive_types = {{'symbol': varchar, 'month': varchar}})"""
    ).df()
    late = minutes["open_time"] == pd.Timestamp("2024-02-10 03:20")
    assert late.sum() == 1
    minutes.loc[late, "volume"] *= 50
    land(lake, minutes)

    built = build_with_tests(lake, warehouse)  # tests look at what is new, tables of all kinds
    for model, months in built.items():
        following = set() if model in {*OF_LAST_PRICES, "metrics_files"} else {"2024-03"}
        assert months == {"2024-02"} | following, model
    assert set(built) >= OF_LAST_PRICES | CARRIED | OF_QUALITY
    assert not built.keys() & (MONTHLY - OF_LAST_PRICES | OF_METRICS)
    after = read(warehouse, "final_dataset")
    hour = pd.Timestamp("2024-02-10 03:00")
    for symbol in after["symbol"].unique():
        for frame_before, frame_after, same in (
            (before[before["hour_ts"] < hour], after[after["hour_ts"] < hour], True),
            (
                before[before["hour_ts"] == hour],
                after[after["hour_ts"] == hour],
                symbol != "BTCUSDT",
            ),
        ):
            differences = compare(
                frame_before[frame_before["symbol"] == symbol],
                frame_after[frame_after["symbol"] == symbol],
                rel=1e-12,
                floor=0,
            )
            assert bool(differences) != same, (symbol, differences)

    full = tmp_path / "full/w.duckdb"
    full.parent.mkdir()
    dbt(lake, full, "build", "--exclude", "tag:evaluation", *NO_UNIT_TESTS,
        "--exclude-resource-type", "test")  # fmt: skip
    check_same(warehouse, full, TABLES | OF_QUALITY)

    check_a_failed_test_is_run_until_it_passes(lake, warehouse)
    check_tests_of_sources_look_at_what_has_landed(lake, warehouse)


def check_a_failed_test_is_run_until_it_passes(lake: Path, warehouse: Path) -> None:
    """A build does not look again at what has passed, unless a test has found it wrong since."""
    test = ("--select", "primary_key_hourly_bars_symbol__hour_ts")
    row = "from hourly_bars where symbol = 'BTCUSDT' and hour_ts = '2024-01-05'"
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute(f"insert into hourly_bars {row}")
    assert try_dbt(lake, warehouse, "build", *test).returncode == 0
    assert try_dbt(lake, warehouse, "test", *test).returncode != 0
    assert try_dbt(lake, warehouse, "build", *test).returncode != 0


def check_tests_of_sources_look_at_what_has_landed(lake: Path, warehouse: Path) -> None:
    """A month that has not changed is not read again, one that has is."""
    test = ("--select", "primary_key_stg_vision__klines_1h_symbol__open_time")

    def path_of(month: str) -> Path:
        return lake / f"vision/klines_1h/symbol=BTCUSDT/month={month}/data.parquet"

    def land_march(rows: pa.Table) -> None:
        log = LandingLog(lake / "_log", "vision")
        land_partition(Lake(lake), log, "klines_1h", "BTCUSDT", "2024-03", rows)
        log.close()

    january, march = (pq.ParquetFile(path_of(month)).read() for month in ("2024-01", "2024-03"))
    pq.write_table(pa.concat_tables([january, january[:1]]), path_of("2024-01"))  # not landed
    land_march(march[1:])
    assert try_dbt(lake, warehouse, "build", *test).returncode == 0
    assert try_dbt(lake, warehouse, "test", *test).returncode != 0
    pq.write_table(january, path_of("2024-01"))
    land_march(pa.concat_tables([march, march[:1]]))
    assert try_dbt(lake, warehouse, "build", *test).returncode != 0
    land_march(march)
    assert try_dbt(lake, warehouse, "build", *test).returncode == 0


@pytest.mark.deep
def test_sizes_of_trades_that_come_late_rebuild_the_month_that_looks_back_too(
    grown: tuple[Path, Path], tmp_path: Path
):
    lake, warehouse = tmp_path / "lake", tmp_path / "w.duckdb"
    shutil.copytree(grown[0], lake)
    shutil.copy(grown[1], warehouse)
    only = ("--select", "+hourly_order_flow")
    path = Lake(lake).partition(VISION["agg_trade_sizes_1h"], "BTCUSDT", "2024-01")
    sizes = duckdb.sql(
        f"""select hour_ts, side, list_transform(bin, lambda b: b + 7) as bin, n, quote
        from read_parquet('{path}', hive_partitioning = false) order by hour_ts, side"""
    ).to_arrow_table()
    log = LandingLog(lake / "_log", "vision")
    land_partition(Lake(lake), log, "agg_trade_sizes_1h", "BTCUSDT", "2024-01", sizes)
    log.close()

    every = set(ORDER)
    assert run(lake, warehouse, *only) == {
        "int_trade_sizes_daily": {"2024-01"},
        "int_size_thresholds": every,
        LOOKS_BACK: every,
        "hourly_order_flow": every,
    }
    query = """select whale_thr_quote from hourly_order_flow
        where symbol = 'BTCUSDT' and hour_ts = '2024-02-02'"""
    before, after = (
        float(read(path, query)["whale_thr_quote"][0]) for path in (grown[1], warehouse)
    )
    assert after > before
    full = tmp_path / "full/w.duckdb"
    full.parent.mkdir()
    run(lake, full, *only)
    check_same(warehouse, full, {LOOKS_BACK, "int_trade_sizes_daily", "hourly_order_flow"})


def test_another_threshold_rebuilds_every_month(grown: tuple[Path, Path], tmp_path: Path):
    """The var is no part of the files that a model reads, but of what is built from them."""
    lake, warehouse = grown[0], tmp_path / "w.duckdb"
    shutil.copy(grown[1], warehouse)
    only = ("--select", "int_trade_sizes_daily", "int_size_thresholds", LOOKS_BACK)
    every = set(ORDER)
    assert run(lake, warehouse, *only, whale_q=0.9) == {
        "int_size_thresholds": every,
        LOOKS_BACK: every,
    }
    assert run(lake, warehouse, *only, whale_q=0.9) == {}


def test_a_build_that_broke_off_goes_on_where_it_stopped(grown: tuple[Path, Path], tmp_path: Path):
    lake, warehouse = tmp_path / "lake", tmp_path / "w.duckdb"
    shutil.copytree(grown[0], lake)
    path = lake / "vision/klines_1m/symbol=BTCUSDT/month=2024-03/data.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(len(whole) - 8) + whole[-4:])
    only = ("--select", "+int_minute_factors_hourly")
    broken = try_dbt(lake, warehouse, "run", *only)
    assert broken.returncode != 0
    assert "month=2024-03" in broken.stdout
    months = read(warehouse, "select distinct month from int_minute_factors_hourly order by month")
    assert list(months["month"]) == ["2024-01", "2024-02"]

    path.write_bytes(whole)
    assert run(lake, warehouse, *only) == {"int_minute_factors_hourly": {"2024-03"}}
    check_same(grown[1], warehouse, {"int_minute_factors_hourly"})


@pytest.mark.deep
def test_full_refresh_builds_every_month_again(grown: tuple[Path, Path], tmp_path: Path):
    lake, warehouse = grown[0], tmp_path / "w.duckdb"
    shutil.copy(grown[1], warehouse)
    built = run(lake, warehouse, "--full-refresh")
    assert set(built) >= MONTHLY | CARRIED
    for model, months in built.items():
        assert months == OF_TICKERS.get(model, set(ORDER)), model
    check_same(grown[1], warehouse)
