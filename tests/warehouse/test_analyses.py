"""The example queries compile, and each has an answer on the sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.build import PROJECT_ROOT, TARGETS, dbt
from tests.conftest import Warehouse

ANALYSES = sorted(p.stem for p in (PROJECT_ROOT / "dbt_project/analyses").glob("*.sql"))


@pytest.fixture(scope="module")
def compiled(sandbox: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Their SQL by name, for a warehouse of the sandbox's file name."""
    folder = tmp_path_factory.mktemp("analyses")
    dbt(sandbox.lake, folder / sandbox.path.name, "compile", "--select", "resource_type:analysis")
    return {p.stem: p.read_text() for p in Path(TARGETS.name).glob("*/compiled/*/*/analyses/*.sql")}


def test_all_are_compiled(compiled: dict[str, str]):
    assert sorted(compiled) == ANALYSES
    assert len(ANALYSES) >= 10


@pytest.mark.parametrize("name", ANALYSES)
def test_it_has_an_answer(sandbox: Warehouse, compiled: dict[str, str], name: str):
    query = compiled[name]
    assert query.startswith("-- "), "it says what it is for"
    rows = sandbox.read(query)
    assert len(rows) > 0
    assert rows.notna().any().all(), "a column without a value"
