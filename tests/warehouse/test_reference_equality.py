"""Every column of every family equals an independent implementation."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.conftest import Warehouse
from tests.reference import build_all, compare
from tests.reference.sources import complete

MARTS = {
    "A": "hourly_bars",
    "B": "hourly_funding",
    "C": "hourly_cleaned",
    "M": "hourly_open_interest",
    "D": "hourly_momentum",
    "E": "hourly_volatility",
    "F": "hourly_order_flow",
    "X": "hourly_context",
}


def load(warehouse: Warehouse) -> dict[str, pd.DataFrame]:
    # Labels are used as the archive gives them: H+55 is safe under either convention.
    return build_all(complete(warehouse.inputs()), label_change=None)


@pytest.fixture(scope="module")
def sandbox_reference(sandbox: Warehouse) -> dict[str, pd.DataFrame]:
    return load(sandbox)


@pytest.fixture(scope="module")
def genuine_reference(genuine: Warehouse) -> dict[str, pd.DataFrame]:
    return load(genuine)


def check(warehouse: Warehouse, reference: dict[str, pd.DataFrame], family: str) -> None:
    expected = reference["T"].merge(reference[family], on=["symbol", "hour_ts"])
    assert len(expected) > 1000
    differences = compare(expected, warehouse.read(MARTS[family]), extra_columns=False)
    assert not differences, "\n".join(str(d) for d in differences)


@pytest.mark.parametrize("family", MARTS)
def test_sandbox(sandbox: Warehouse, sandbox_reference: dict[str, pd.DataFrame], family: str):
    check(sandbox, sandbox_reference, family)


@pytest.mark.parametrize("family", MARTS)
def test_genuine(genuine: Warehouse, genuine_reference: dict[str, pd.DataFrame], family: str):
    check(genuine, genuine_reference, family)


def test_final_dataset_is_the_marts_side_by_side(sandbox: Warehouse):
    final = sandbox.read("final_dataset")
    for mart in MARTS.values():
        own = sandbox.read(mart)
        assert len(own) == len(final)
        differences = compare(own, final, rel=0, floor=0)
        assert not differences, "\n".join(str(d) for d in differences)


def test_no_column_is_trivially_empty_on_the_sandbox(sandbox: Warehouse):
    """Every column has values that vary; the exceptions are what this market does not do."""
    final = sandbox.read("final_dataset")
    constant = {c for c in final if final[c].nunique(dropna=True) < 2}
    archive_alone = {"bar_origin", "funding_source", "oi_source"}
    assert constant <= {"quote_is_proxy"} | archive_alone, constant
