"""The project keeps its promises about itself: registry, descriptions, contracts, secrets."""

from __future__ import annotations

import copy
import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ingest.config import PROJECT_ROOT
from ingest.datasets import SIZE_BINS_PER_DECADE, SOURCES, VISION


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    target = tmp_path_factory.mktemp("parse")
    subprocess.run(
        [Path(sys.executable).with_name("dbt"), "--warn-error", "parse", "--target-path", target,
         "--log-path", target],
        cwd=PROJECT_ROOT, check=True, capture_output=True,
    )  # fmt: skip
    return json.loads((target / "manifest.json").read_text())


def models(manifest: dict[str, Any], *folders: str) -> list[dict[str, Any]]:
    return [
        node
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model"
        and any(f"/{folder}/" in node["original_file_path"] for folder in folders)
    ]


def test_sources_are_the_registry(manifest: dict[str, Any]):
    types = {"timestamp[us]": "timestamp", "double": "double", "int64": "bigint",
             "string": "string", "date32[day]": "date", "bool": "boolean",
             "list<item: int16>": "array<smallint>", "list<item: int64>": "array<bigint>",
             "list<item: double>": "array<double>"}  # fmt: skip
    for source, datasets in SOURCES.items():
        declared = {
            s["name"]: {c["name"]: c["data_type"] for c in s["columns"].values()}
            for s in manifest["sources"].values()
            if s["source_name"] == source
        }
        assert declared == {
            name: {"symbol": "string", "month": "string"}
            | {f.name: types[str(f.type)] for f in dataset.schema}
            for name, dataset in datasets.items()
        }, source


def test_every_dataset_is_staged(manifest: dict[str, Any]):
    staged = {n["name"] for n in models(manifest, "staging")}
    assert staged == {
        f"stg_{source}__{name}" for source, datasets in SOURCES.items() for name in datasets
    } | {"stg_lake__landing_log", "stg_lake__landing_files"}


def test_the_datasets_seed_is_the_registry():
    path = PROJECT_ROOT / "dbt_project/seeds/datasets.csv"
    with path.open() as handle:
        rows = {r["dataset"]: r["slot_minutes"] for r in csv.DictReader(handle)}
    grains = {
        n: str(d.grain_minutes) if d.grain_minutes else ""
        for n, d in VISION.items()
        if d.made_with is None  # has no files of its own
    }
    assert rows == grains


def test_size_bins_are_those_that_are_landed():
    project = (PROJECT_ROOT / "dbt_project.yml").read_text()
    assert re.findall(r"hist_bins_per_decade: (\d+)", project) == [str(SIZE_BINS_PER_DECADE)]


def test_every_column_is_described(manifest: dict[str, Any]):
    for node in [*manifest["nodes"].values(), *manifest["sources"].values()]:
        if node["resource_type"] in ("model", "source", "seed"):
            assert node["description"], node["name"]
            for column in node["columns"].values():
                assert column["description"], (node["name"], column["name"])


def test_marts_have_contracts_keys_and_unit_tests(manifest: dict[str, Any]):
    tested = {
        node
        for test in manifest["nodes"].values()
        if test["resource_type"] == "test"
        and test.get("test_metadata", {}).get("name") == "primary_key"
        for node in test["depends_on"]["nodes"]
    }
    for node in models(manifest, "marts", "quality"):
        if node["name"].startswith("int_"):
            continue
        assert node["contract"]["enforced"], node["name"]
        if node["name"] not in ("reconciliation",):
            assert node["unique_id"] in tested, node["name"]
    with_unit_tests = {u["model"] for u in manifest["unit_tests"].values()}
    for node in models(manifest, "marts"):
        if node["name"].startswith("hourly_"):
            assert node["name"] in with_unit_tests


def test_marts_describe_every_column_they_have(manifest: dict[str, Any]):
    final = next(n for n in models(manifest, "marts") if n["name"] == "final_dataset")
    apart = {
        "hourly_ticker",  # a vendor's view, there to compare with
        "liquidation_factors_15m",  # of another grain
        "final_dataset",
        "final_dataset_metrics_complete",
    }
    families = [n for n in models(manifest, "marts") if n["name"] not in apart]
    union = {c for n in families for c in n["columns"]}
    assert union == set(final["columns"])
    for node in families:
        for name, column in node["columns"].items():
            assert column["description"] == final["columns"][name]["description"], name


def test_only_staging_reads_sources(manifest: dict[str, Any]):
    for node in models(manifest, "models"):
        if any(p.startswith("source.") for p in node["depends_on"]["nodes"]):
            assert "/staging/" in node["original_file_path"], node["name"]


def test_every_table_says_what_it_is_built_from(manifest: dict[str, Any]):
    """A table of dbt's own kind would be built anew by every run."""
    for node in models(manifest, "models"):
        kind, meta = node["config"]["materialized"], node["config"]["meta"]
        assert kind in {
            "view", "ephemeral", "monthly", "hourly", "whole", "monthly_by_content",
        }, node["name"]  # fmt: skip
        code = re.sub(r"\{#.*?#\}", "", node["raw_code"], flags=re.S)
        if kind == "hourly":
            assert meta["hours_before"] == "all" or meta["hours_before"] >= 0, node["name"]
            assert meta.get("time_column", "hour_ts") in node["columns"], node["name"]
        if kind == "monthly":
            assert "month" in node["columns"], node["name"]
        if kind in ("view", "whole"):  # nobody would fill in the hours
            assert "in_reach" not in code, node["name"]
            assert "in_batch" not in code, node["name"]


def without_partition(manifest: dict[str, Any]) -> list[str]:
    """Models that are built by parts, but do not say by which partition Spark replaces a part.

    Spark's insert overwrite replaces the whole table of such a model by the part, without a word.
    """
    by_parts = {"incremental", "monthly", "hourly", "monthly_by_content"}
    return [
        node["name"]
        for node in models(manifest, "models")
        if node["config"]["materialized"] in by_parts
        and node["config"].get("partition_by") != "month"
    ]


def test_what_is_built_by_parts_has_a_partition(manifest: dict[str, Any]):
    assert not without_partition(manifest)
    marred = copy.deepcopy(manifest)
    for name, kind in (("hourly_bars", "hourly"), ("int_horizon", "incremental")):
        config = marred["nodes"][f"model.perp_warehouse.{name}"]["config"]
        config.pop("partition_by", None)
        config["materialized"] = kind
    assert sorted(without_partition(marred)) == ["hourly_bars", "int_horizon"]


BANNED = {
    "qualify": r"\bqualify\b",
    "asof": r"\basof\b",
    "double colon": r"::",
    "integer division": r"[^/:]//[^/]",
    "exclude": r"\*\s+exclude",
    "distinct on": r"distinct\s+on\b",
    "by name": r"union\s+all\s+by\s+name",
    "median": r"\bmedian\(",
    "approx": r"\bapprox_",
}


def test_models_stay_portable(manifest: dict[str, Any]):
    for node in models(manifest, "models"):
        code = re.sub(r"\{#.*?#\}|--[^\n]*|\{%.*?%\}", "", node["raw_code"], flags=re.S)
        code = re.sub(r"\{\{.*?\}\}", "", code, flags=re.S)
        for name, pattern in BANNED.items():
            assert not re.search(pattern, code, flags=re.I), (node["name"], name)
        for order in re.findall(r"order by (?:.|\n)*?(?=\)|rows|range)", code):
            keys = re.split(r",\s*(?![^()]*\))", order.removeprefix("order by "))
            assert all("nulls last" in k for k in keys if k.strip()), (node["name"], order)


def test_no_tracked_file_names_a_registry_or_this_machine():
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=PROJECT_ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    registries = re.compile(
        "|".join(("pypi" + r"\.org", "python" + "hosted", "/wo" + "rk/ma" + "in"))
    )
    for name in filter(None, files):
        path = PROJECT_ROOT / name
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            assert not registries.search(text), name


def test_no_feature_reads_what_followed(manifest: dict[str, Any]):
    """Labels belong to the future of their row."""
    labels = {n["unique_id"] for n in models(manifest, "evaluation")}
    assert len(labels) == 2
    for node in models(manifest, "models"):
        if node["unique_id"] not in labels:
            assert not labels & set(node["depends_on"]["nodes"]), node["name"]
