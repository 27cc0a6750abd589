"""Labels and rank ICs equal a second implementation, and a month that is known stays as it is."""

from __future__ import annotations

import importlib.util
import math
import re
from pathlib import Path
from types import ModuleType

import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml

from tests.build import PROJECT_ROOT, dbt, read
from tests.conftest import Warehouse
from tests.reference import compare
from tests.reference.evaluation import factor_ic, forward_returns, hourly_ic

KEYS = ("factor", "month", "horizon_hours")


def factors_of(warehouse: Warehouse) -> list[str]:
    """Numeric columns of the wide table, but those that the project says are no factors."""
    not_factors = yaml.safe_load((PROJECT_ROOT / "dbt_project.yml").read_text())["vars"][
        "not_factors"
    ]
    columns = warehouse.read("select column_name, column_type from (describe final_dataset)")
    numeric = columns[columns["column_type"].isin(["DOUBLE", "INTEGER", "BIGINT"])]["column_name"]
    assert set(not_factors) <= set(columns["column_name"])
    return [name for name in numeric if name not in not_factors]


def test_labels(sandbox: Warehouse):
    bars = sandbox.read("select symbol, hour_ts, listing_segment, close from hourly_bars")
    expected = forward_returns(bars)
    found = sandbox.read("select * exclude (feature_time) from forward_returns_hourly")
    differences = compare(expected, found, extra_columns=False)
    assert not differences, "\n".join(str(d) for d in differences)
    assert expected["y_24h"].isna().sum() > expected["y_1h"].isna().sum() > 0


@pytest.mark.parametrize(("month", "every"), [("2024-02", 8), ("2024-03", 1)])
def test_rank_correlations(sandbox: Warehouse, month: str, every: int):
    """A listing, a delisting and an outage; then the end of the data."""
    factors = factors_of(sandbox)
    assert len(factors) > 450
    factors = factors[::every]
    dataset = sandbox.read(
        f"""select symbol, hour_ts, {", ".join(factors)} from final_dataset
        where date_trunc('month', hour_ts) = '{month}-01'"""
    )
    labels = sandbox.read("select symbol, hour_ts, y_1h, y_4h, y_24h from forward_returns_hourly")
    expected = factor_ic(dataset, labels, factors)
    found = sandbox.read(f"select * from factor_ic where month = '{month}'")
    found = found[found["factor"].isin(factors)]
    differences = compare(expected, found, keys=KEYS, extra_columns=False)
    assert not differences, "\n".join(str(d) for d in differences)
    assert len(found) == len(factors) * 3
    assert (found["n_hours"] > 200).mean() > 0.5


def copy_until(source: Path, target: Path, end: str) -> None:
    """What the models of the evaluation read, as it was at ``end``; a few factors will do."""
    with duckdb.connect(str(target)) as connection:
        connection.execute(f"attach '{source}' as source (read_only)")
        for table, columns in {
            "hourly_bars": "*",
            "final_dataset": "symbol, hour_ts, has_bar, close, volume, funding_rate, st_dir, "
            "rv_l2, long_liq_volume, oi_source, age_hours",
        }.items():
            connection.execute(
                f"create or replace table {table} as select {columns} from source.main.{table} "
                f"where bar_end_time <= '{end}'"
            )
            connection.execute(
                "create table if not exists build_states "
                "(name string, month string, state string, recorded_at timestamp)"
            )
            connection.execute(
                f"""
                insert into build_states
                select
                    '{table}', strftime(month, '%Y-%m'),
                    'to ' || least(timestamp '{end}', month + interval 1 month),
                    now() at time zone 'UTC'
                from (select distinct date_trunc('month', hour_ts) as month from {table})
                """
            )


def evaluate(lake: Path, warehouse: Path) -> list[str]:
    """Build the evaluation alone; returns the months of ICs that were built."""
    out = dbt(lake, warehouse, "run", "--select", "tag:evaluation")
    return re.findall(r"factor_ic: (\d{4}-\d{2}) \(\d+ of \d+\)", out)


@pytest.fixture(scope="module")
def grown(
    sandbox: Warehouse, tmp_path_factory: pytest.TempPathFactory
) -> tuple[pd.DataFrame, pd.DataFrame, list[list[str]]]:
    """The ICs at noon of the last day of February and with all data; the months built each time."""
    warehouse = tmp_path_factory.mktemp("evaluation") / "w.duckdb"
    query = "from factor_ic order by all"
    copy_until(sandbox.path, warehouse, "2024-02-29 12:00")
    built = [evaluate(sandbox.lake, warehouse)]
    before = read(warehouse, query)
    copy_until(sandbox.path, warehouse, "2024-03-11 06:00")
    built += [evaluate(sandbox.lake, warehouse) for _ in range(2)]
    return before, read(warehouse, query), built


def test_only_months_with_news_are_built(grown: tuple[object, object, list[list[str]]]):
    assert grown[2] == [["2024-01", "2024-02"], ["2024-02", "2024-03"], []]


def test_months_whose_labels_are_known_do_not_change(
    grown: tuple[pd.DataFrame, pd.DataFrame, object],
):
    before, after, _ = grown
    known = before[before["known_at"] <= pd.Timestamp("2024-02-29 12:00")]
    assert set(known["month"]) == {"2024-01"}
    same = after.merge(known[list(KEYS)])
    assert not compare(known, same, rel=0, floor=0, keys=KEYS, extra_columns=False)
    february = before[before["month"] == "2024-02"]
    assert compare(february, after.merge(february[list(KEYS)]), keys=KEYS)


def test_one_build_gives_the_same(sandbox: Warehouse, grown: tuple[object, pd.DataFrame, object]):
    whole = sandbox.read("from factor_ic order by all")
    grown_ic = grown[1]
    assert set(grown_ic["factor"]) == {
        "close", "volume", "funding_rate", "st_dir", "rv_l2", "long_liq_volume", "age_hours",
    }  # fmt: skip
    same = whole[whole["factor"].isin(grown_ic["factor"])]
    assert not compare(same, grown_ic, rel=1e-12, floor=0, keys=KEYS, extra_columns=False)


@pytest.fixture(scope="module")
def model() -> ModuleType:
    path = PROJECT_ROOT / "dbt_project/models/evaluation/factor_ic.py"
    spec = importlib.util.spec_from_file_location("factor_ic", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rank_correlations_by_hand(model: ModuleType):
    """Four contracts, and one without a label; three must have both."""
    none = np.nan
    factors = {
        "rising": [10, 20, 30, 40, 50],
        "tied": [1, 1, 2, 2, 0],
        "flat": [5, 5, 5, 5, 5],
        "few": [1, none, 2, none, 3],
        "scattered": [1, none, 3, 2, 9],
    }
    labels = [
        [0.1, 0.2, 0.3, 0.4, none],
        [0.1, 0.1, 0.2, none, none],
        [0.1, 0.1, 0.2, 0.2, none],
    ]
    ics, n = model.rank_correlations(np.array(list(factors.values())), np.array(labels), 3)
    tied = 4 / math.sqrt(4 * 5)  # ranks 1.5, 1.5, 3.5, 3.5 against 1, 2, 3, 4
    expected = {
        "rising": [1, 1.5 / math.sqrt(2 * 1.5), tied],
        "tied": [tied, 1, 1],
        "flat": [none, none, none],
        "few": [none, none, none],
        "scattered": [0.5, none, 1.5 / math.sqrt(2 * 1.5)],
    }
    for name, of_factor in zip(factors, ics, strict=True):
        assert of_factor == pytest.approx(expected[name], rel=1e-14, nan_ok=True), name
    assert n.tolist() == [[4, 3, 4], [4, 3, 4], [4, 3, 4], [2, 2, 2], [3, 2, 3]]


@pytest.mark.parametrize("seed", range(20))
def test_rank_correlations_of_an_hour(model: ModuleType, seed: int):
    """Ties and holes of all kinds, on either side, as the reference ranks them."""
    random = np.random.default_rng(seed)
    factors = random.standard_normal((40, 30))
    factors[::3] = np.round(factors[::3])
    factors[random.random((40, 30)) < random.choice([0, 0.02, 0.5])] = np.nan
    factors[7] = np.nan
    labels = random.standard_normal((3, 30))
    labels[1] = np.round(labels[1], 1)
    labels[2, random.random(30) < 0.1] = np.nan
    ics, n = model.rank_correlations(factors, labels, 10)
    one_hour = pd.Series(0, index=range(30))
    for horizon, label in enumerate(labels):
        ic, count = hourly_ic(pd.DataFrame(factors.T), pd.Series(label), one_hour, 10)
        assert ics[:, horizon] == pytest.approx(ic.loc[0].to_numpy(), abs=1e-12, nan_ok=True)
        assert n[:, horizon].tolist() == count.loc[0].tolist()


def test_hours_average_to_a_month(model: ModuleType):
    """1 and -0.5: mean 0.25, squared deviations 1.125 in all, over 1. One hour does not count."""
    found = model.summary(np.array([1, np.nan, -0.5]), np.array([3.0, 2.0, 5.0]))
    assert found == {
        "n_hours": 2,
        "mean_ic": 0.25,
        "std_ic": pytest.approx(1.0606601717798212, rel=1e-15),
        "ir": pytest.approx(0.25 / 1.0606601717798212, rel=1e-15),
        "mean_n_symbols": 4,
    }
    assert model.summary(np.array([np.nan]), np.array([2.0])) == {"n_hours": 0}
    assert model.summary(np.array([0.5]), np.array([12.0]))["std_ic"] is None
    assert model.summary(np.array([0.5, 0.5]), np.array([12.0, 12.0]))["ir"] is None
