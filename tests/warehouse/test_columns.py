"""The yml files of generated columns are what `make columns` writes."""

from __future__ import annotations

import pytest
import yaml

from dbt_project import columns
from dbt_project.columns import GENERATED, MARTS, Column, Settings, settings


def names(listed: list[Column]) -> list[str]:
    return [c.name for c in listed]


@pytest.mark.parametrize("mart", GENERATED)
def test_committed_files_are_what_the_tool_writes(mart: str):
    assert columns.rendered(mart) == (MARTS / f"{mart}.yml").read_text(), "run `make columns`"


@pytest.mark.parametrize("mart", GENERATED)
def test_no_column_comes_twice(mart: str):
    listed = names(columns.columns_of(mart))
    assert len(set(listed)) == len(listed)


def test_texts_have_unit_window_and_null_rule():
    project = settings()
    for column in columns.transforms(project) + columns.hourly_factors(project):
        for part in ("Unit: ", "Window: ", "NULL"):
            assert part in column.description, column.name


def test_there_are_as_many_columns_as_the_families_have():
    project = settings()
    assert len(columns.transforms(project)) == 105
    assert len(columns.hourly_factors(project)) == 88 + 43
    assert len(columns.finer_factors(project)) == 16 + 88 + 43


def test_a_line_adds_columns():
    project = settings()
    line = {
        "factor": "vwap_dev",
        "mart": "hourly_bars",
        "map": "ln1p",
        "transforms": ["z72", "snr"],
    }
    longer = project | {"transforms": [*project["transforms"], line]}
    added = columns.transforms(longer)[len(columns.transforms(project)) :]
    assert names(added) == ["g_z72_vwap_dev", "g_snr_vwap_dev"]
    assert "ln(1 + `vwap_dev`)" in added[0].description
    assert "72 rows" in added[0].description
    assert "fewer than 54" in added[0].description


@pytest.mark.parametrize(
    ("changed", "more"),
    [
        ({"mining_windows": [24, 72]}, 28 + 24 + 4 + 2 + 24),
        ({"mining_quantiles": [0.9, 0.95]}, 24 + 2),
        ({"liq_lb": [24]}, -(12 + 5 + 13 + 12) - (2 + 1 + 2 + 1 + 12)),
    ],
)
def test_liquidation_columns_follow_the_vars(changed: Settings, more: int):
    project = settings()
    before = columns.hourly_factors(project)
    after = columns.hourly_factors(project | changed)
    assert len(after) - len(before) == more
    assert len(set(names(after))) == len(after)


def test_a_text_survives_the_file():
    column = Column("a", "double", "It's `x`: 50 % of #1, {not} a mapping. " * 9)
    text = "\n".join(columns.as_yaml(column))
    description = column.description.strip()
    assert yaml.safe_load(text) == [
        {"name": "a", "data_type": "double", "description": description}
    ]
