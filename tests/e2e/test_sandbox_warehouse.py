"""`perp sandbox warehouse`, what `make warehouse` runs: as a new user sees it, twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.build import read
from tests.conftest import Warehouse, make_sandbox


def test_the_sandbox_builds_from_nothing(sandbox: Warehouse):
    assert "3 files quarantined" in sandbox.output
    assert "1 partitions landed" in sandbox.output, "the replaced file"
    assert "Example 3" in sandbox.output
    assert "exchange_outage" in sandbox.output
    assert len(sandbox.read("final_dataset")) > 20_000


@pytest.mark.deep
def test_a_second_run_lands_nothing_and_ends_the_same(
    sandbox: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DBT_EXCLUDE_RESOURCE_TYPES", "unit_test")  # they read no lake
    again = Warehouse(tmp_path / "lake", tmp_path / "w.duckdb")
    shutil.copytree(sandbox.lake, again.lake)
    shutil.copy(sandbox.path, again.path)
    shutil.copytree(sandbox.lake.parent / "exchange", tmp_path / "exchange")
    assert "\n   0 partitions landed" in make_sandbox(again, tmp_path / "exchange")
    count = "select count(*) as n from final_dataset"
    assert read(again.path, count)["n"][0] == sandbox.read(count)["n"][0]
