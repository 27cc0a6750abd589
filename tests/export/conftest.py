"""A small warehouse that the tests of exports read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.export.tables import small_table


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with six listings of five names."""
    return small_table(tmp_path_factory.mktemp("export") / "w.duckdb")
