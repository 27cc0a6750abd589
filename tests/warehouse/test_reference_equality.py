"""Every column of every family equals an independent implementation."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.conftest import Warehouse
from tests.reference import KEYS, build_all, build_layers, compare
from tests.reference.liquidations import bar_quote_volume, factors_15m
from tests.reference.sources import complete

MARTS = {
    "T": "select * exclude (n_bars) from int_hourly_spine",  # age_hours is n_bars, see C
    "A": "hourly_bars",
    "B": "hourly_funding",
    "C": "hourly_cleaned",
    "M": "hourly_open_interest",
    "D": "hourly_momentum",
    "E": "hourly_volatility",
    "F": "hourly_order_flow",
    "X": "hourly_context",
    "H": "from hourly_liquidations natural join liquidation_factors_1h",
    "S": "hourly_structure",
    "G": "hourly_transforms",
    "N": "hourly_signals",
}


def load(warehouse: Warehouse) -> dict[str, pd.DataFrame]:
    """The reference of every family, and of the liquidations of finer bars under "15m"."""
    inputs = complete(warehouse.inputs())
    # Labels are used as the archive gives them: H+55 is safe under either convention.
    frames = build_all(inputs, label_change=None)
    # Whose events count, and where, is tested with the sources.
    events = warehouse.read("int_liquidations").query("is_hour_source")
    coverage = warehouse.read("liq_feed_coverage")
    fine = factors_15m(events, coverage, frames["T"], bar_quote_volume(inputs))
    # A rank turns the last digit of a near tie into a place, so transforms start from what stands
    # in the warehouse; that this equals the reference is the test of the other families.
    wide = warehouse.read("from final_dataset order by symbol, hour_ts")
    return frames | build_layers(frames, events, coverage, wide) | {"15m": fine}


@pytest.fixture(scope="module")
def sandbox_reference(sandbox: Warehouse) -> dict[str, pd.DataFrame]:
    return load(sandbox)


@pytest.fixture(scope="module")
def genuine_reference(genuine: Warehouse) -> dict[str, pd.DataFrame]:
    return load(genuine)


def check(warehouse: Warehouse, reference: dict[str, pd.DataFrame], family: str) -> None:
    expected = reference["T"]
    if family != "T":
        expected = expected.merge(reference[family], on=KEYS)
    assert len(expected) > 1000
    differences = compare(expected, warehouse.read(MARTS[family]), extra_columns=False)
    assert not differences, "\n".join(str(d) for d in differences)


@pytest.mark.parametrize("family", MARTS)
def test_sandbox(sandbox: Warehouse, sandbox_reference: dict[str, pd.DataFrame], family: str):
    check(sandbox, sandbox_reference, family)


@pytest.mark.parametrize("family", MARTS)
def test_genuine(genuine: Warehouse, genuine_reference: dict[str, pd.DataFrame], family: str):
    check(genuine, genuine_reference, family)


@pytest.mark.parametrize("feed", ["sandbox", "genuine"])
def test_finer_bars_of_liquidations(feed: str, request: pytest.FixtureRequest):
    expected = request.getfixturevalue(f"{feed}_reference")["15m"]
    mart = request.getfixturevalue(feed).read("liquidation_factors_15m")
    assert len(expected) > 4000
    keys = ["symbol", "bar_ts"]
    differences = compare(expected, mart[list(expected)], keys=keys, extra_columns=False)
    assert not differences, "\n".join(str(d) for d in differences)


def test_final_dataset_is_the_marts_side_by_side(sandbox: Warehouse):
    final = sandbox.read("final_dataset")
    for mart in MARTS.values():
        own = sandbox.read(mart)
        assert len(own) == len(final)
        differences = compare(own, final, rel=0, floor=0)
        assert not differences, "\n".join(str(d) for d in differences)


# They need 126 of 168 hours with a trade of a whale; a thin tape has one in every third.
WHALES_ARE_RARE = {
    "g_z168_whale_imbalance",
    "g_z168_whale_retail_divergence",
    "g_z168_whale_retail_ratio",
    "g_rank168_whale_retail_ratio",
    "g_snr_whale_retail_ratio",
}
# They need five orders on a side in half of the quarters of a day.
SHAPES_ARE_RARE = {"feat_z_skew_long_w24", "feat_z_skew_short_w24", "feat_z_diff_skew_w24"}


def test_no_column_is_trivially_empty_on_the_sandbox(sandbox: Warehouse):
    """Every column has values that vary; the exceptions are what this market does not do."""
    final = sandbox.read("final_dataset")
    constant = {c for c in final if final[c].nunique(dropna=True) < 2}
    assert constant == {"quote_is_proxy"} | WHALES_ARE_RARE
    fine = sandbox.read("liquidation_factors_15m")
    assert {c for c in fine if fine[c].nunique(dropna=True) < 2} == SHAPES_ARE_RARE


def test_as_many_columns_as_the_law_counts(sandbox: Warehouse):
    """513, and four that say where a value comes from."""
    provenance = {"bar_source", "bar_origin", "funding_source", "oi_source"}
    columns = set(sandbox.read("final_dataset"))
    assert provenance < columns
    assert len(columns - provenance) == 513
