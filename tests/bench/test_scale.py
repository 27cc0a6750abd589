"""The generator of lakes of any size, and the runner that measures builds of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bench.scale.__main__ import exponents, sizes_of
from bench.scale.generate import generate
from bench.scale.market import contracts, make_month, month_name
from bench.scale.measure import covered
from bench.scale.tables import TICKS, WITHOUT_TICKS, table
from ingest.config import PROJECT_ROOT
from ingest.datasets import VISION
from ingest.lake import Key, Lake
from ingest.verify import verify
from tests.build import NO_UNIT_TESTS, dbt, read

DATASETS = {*WITHOUT_TICKS, *TICKS}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two contracts, two months, the second of 20 days, with ticks."""
    root = tmp_path_factory.mktemp("scale") / "lake"
    generate(root, 2, 2, days=20, ticks=True, workers=1)
    return Lake(root)


def files(lake: Lake) -> dict[Key, bytes]:
    """Content of every partition."""
    return {
        (dataset.name, symbol, month): path.read_bytes()
        for dataset in VISION.values()
        for symbol, month, path in lake.partitions(dataset)
    }


def test_the_same_arguments_give_the_same_files(lake: Lake, tmp_path: Path):
    generate(tmp_path, 2, 2, days=20, ticks=True, workers=2)
    again = files(Lake(tmp_path))
    assert again == files(lake)
    assert {dataset for dataset, _, _ in again} == DATASETS


def test_verify_finds_nothing_wrong(lake: Lake):
    verified = verify(lake)
    assert verified.files == len(files(lake)) > 2 * 2 * len(DATASETS) - 4
    assert not verified.findings


def test_months_and_contracts_are_added_and_nothing_else_is_touched(lake: Lake, tmp_path: Path):
    generate(tmp_path, 1, 1, workers=1)
    generate(tmp_path, 1, 2, days=20, workers=1)
    small = Lake(tmp_path)
    first = small.state("vision")
    before = files(small)
    made = generate(tmp_path, 2, 2, days=20, ticks=True, workers=1)
    after = files(small)
    assert {key: after[key] for key in before} == before
    assert made.partitions == len(after) - len(before)
    assert {k: r.log_seq for k, r in small.state("vision").items() if k in first} == {
        k: r.log_seq for k, r in first.items()
    }
    assert after == files(lake)


def test_one_more_day_replaces_the_last_month_and_keeps_its_days(lake: Lake, tmp_path: Path):
    shutil.copytree(lake.root, tmp_path / "lake")
    root = Lake(tmp_path / "lake")
    before, rows = files(root), {k: rows_of(root, k) for k in files(root)}
    generate(root.root, 2, 2, days=21, ticks=True, workers=1)
    after = files(root)
    assert set(after) == set(before)
    assert {k for k in after if after[k] != before[k]} == {k for k in after if k[2] == "2021-02"}
    assert not verify(root).findings
    for key, held in rows.items():
        now = rows_of(root, key)
        assert now.slice(0, held.num_rows).equals(held)
        if key[2] == "2021-02":
            times = now[VISION[key[0]].time_column].slice(held.num_rows).to_pylist()
            assert {t.date().day for t in times} == {21}


def test_sizes_belong_to_the_files_of_their_ticks(lake: Lake):
    state = lake.state("vision")
    for (dataset, symbol, month), record in state.items():
        if dataset == "agg_trade_sizes_1h":
            leader = state["agg_trades_1m", symbol, month]
            assert record.made_from == leader.versions
            assert leader.files


def rows_of(lake: Lake, key: Key):
    """Rows of a partition."""
    return pq.ParquetFile(lake.partition(VISION[key[0]], key[1], key[2])).read()


def test_a_month_goes_on_where_the_one_before_ended():
    for contract in contracts(3):
        before, after = make_month(contract, 0), make_month(contract, 1)
        step = after.last.open[0] / before.last.close[-1] - 1
        assert abs(step) < 0.01
        assert after.first_ids[0] == before.first_ids[-1] + before.trades[-1]


def test_contracts_list_late_and_are_delisted():
    late, gone = contracts(8)[3], contracts(8)[7]
    (month, minute), (last, end) = late.listed, gone.delisted
    assert make_month(late, month).listed.argmax() == minute
    ended = make_month(gone, last)
    assert not ended.trades[end:].any()
    assert ended.listed[end]
    assert not ended.listed[-1]
    assert table("klines_1m", ended, ended.days).rows.num_rows == ended.listed.sum()


def test_flaws_are_on_record(tmp_path: Path):
    generate(tmp_path, 2, 2, workers=1)
    state = Lake(tmp_path).state("vision")
    symbol = contracts(2)[1].symbol
    bad = state["premium_index_klines_1m", symbol, month_name(1)]
    assert bad.status == bad.files[0].outcome == "quarantined"
    metrics = state["metrics", symbol, month_name(1)]
    assert [f.period for f in metrics.files if f.period.endswith("-08")] == []
    outcomes = {f.outcome for f in state["metrics", contracts(1)[0].symbol, month_name(1)].files}
    assert outcomes == {"landed", "quarantined"}
    assert state["klines_1m", symbol, month_name(0)].gaps > 0


@pytest.mark.deep
def test_it_builds(lake: Lake, tmp_path: Path):
    """All models and data tests; the tick layers agree with the bars that they were made with."""
    warehouse = tmp_path / "w.duckdb"
    dbt(lake.root, warehouse, "build", *NO_UNIT_TESTS)
    hours = read(warehouse, "select symbol, count(*) as n from final_dataset group by 1")
    assert dict(zip(hours["symbol"], hours["n"], strict=True)) == dict.fromkeys(
        (c.symbol for c in contracts(2)), 24 * (31 + 20)
    )
    whole = contracts(1)[0].symbol  # the other one lacks minutes, on purpose
    checks = read(
        warehouse,
        f"""select
            check_name, sum(n_hours_compared) as compared, sum(n_hours_different) as different
        from reconciliation_summary where symbol = '{whole}' group by 1""",
    ).set_index("check_name")
    for check in ("ticks_against_minutes", "ticks_against_hours", "sizes_against_ticks"):
        assert checks.loc[check, "compared"] > 1000
    assert checks["different"].sum() == 0


# --------------------------------------------------------------------------------------- the runner
@pytest.mark.deep
def test_the_runner_measures_what_is_selected(tmp_path: Path):
    result = tmp_path / "result.json"
    subprocess.run(
        [sys.executable, "-m", "bench.scale", "--sizes", "1x1", "--folder", tmp_path / "at",
         "--json", result, "--select", "+int_horizon"],
        cwd=PROJECT_ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (size,) = json.loads(result.read_text())["sizes"].values()
    builds = size["builds"]
    assert list(builds) == ["from nothing", "nothing new", "one more day"]
    for build in builds.values():
        assert build["memory_mb"] > 50
        assert build["cpu"] > 0
        assert build["groups"]["minute models"]["nodes"] > 2
        assert build["groups"]["hourly models"]["nodes"] == 1
    assert size["models"]["int_klines_hourly"]["rows"] == 21 * 24
    assert not (tmp_path / "at" / "1x1").exists()


def test_overlapping_times_count_once():
    def at(minute: int) -> datetime:
        return datetime(2024, 1, 1, 0, minute)

    spans = [(at(5), at(7)), (at(0), at(2)), (at(1), at(3)), (at(5), at(6))]
    assert covered(spans) == 60 * (3 + 2)


def test_exponents_compare_sizes():
    def size(hours: int, seconds: float) -> dict[str, object]:
        build = {"wall": seconds, "cpu": seconds**2, "groups": {}}
        return {"symbol_hours": hours, "builds": {"from nothing": build}}

    (line,) = exponents({"1x1": size(10, 10.0), "1x10": size(100, 100.0)})
    assert line == "exponent 1x1 to 1x10: wall 1.00, CPU 2.00"


def test_sizes_are_pairs():
    assert sizes_of("10x12,92x62") == [(10, 12), (92, 62)]
    for wrong in ("10", "10x", "0x3"):
        with pytest.raises(Exception, match=r"10x12|without"):
            sizes_of(wrong)
