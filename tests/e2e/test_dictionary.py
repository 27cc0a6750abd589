"""The data dictionary: everything is described, and its page opens without a network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.config import PROJECT_ROOT
from tests.browser import Tab, visit
from tests.conftest import Warehouse, built_once

Node = dict[str, Any]
OWN = "perp_warehouse"
WIDE = f"model.{OWN}.final_dataset"
DRAWN = """[...document.querySelectorAll('canvas')].some(c => c.width > 100
    && c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(x => x))"""
SIGNATURE = re.compile(r"\{%-?\s*macro\s+\w+\s*\((.*?)\)\s*-?%\}", re.DOTALL)


@pytest.fixture(scope="session")
def dictionary(sandbox: Warehouse, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The target folder that `make docs` leaves, for the sandbox's warehouse."""
    with built_once(tmp_path_factory, "dictionary") as target:
        if not (target / "static_index.html").exists():
            target.mkdir(exist_ok=True)
            # a copy: dbt opens it for writing, and other processes read the sandbox's
            warehouse = Path(shutil.copy(sandbox.path, target))
            parsed = PROJECT_ROOT / "target/partial_parse.msgpack"
            if parsed.exists():  # of the build that made the sandbox: the same project
                shutil.copy(parsed, target)
            # `make docs`, with what is installed here
            programs = Path(sys.executable).parent
            command = ["make", "--old-file", ".venv/.installed", "docs", f"BIN={programs}"]
            settings = {
                "PERP_LAKE": str(sandbox.lake),
                "PERP_WAREHOUSE": str(warehouse),
                "DBT_TARGET_PATH": str(target),
                "DBT_LOG_PATH": str(target),
            }
            result = subprocess.run(
                command,
                cwd=PROJECT_ROOT,
                env={**os.environ, **settings},
                capture_output=True,
                text=True,
                check=False,
            )
            assert result.returncode == 0, result.stdout[-3000:] + result.stderr
    return target


@pytest.fixture(scope="session")
def manifest(dictionary: Path) -> Node:
    return json.loads((dictionary / "manifest.json").read_text())


def described(manifest: Node) -> Iterator[tuple[str, str]]:
    """(what, its description) of everything that the dictionary explains."""
    for name, node in {**manifest["nodes"], **manifest["sources"]}.items():
        if node["resource_type"] in ("model", "seed", "source", "analysis"):
            yield name, node["description"]
            yield f"{name}: its source", node.get("source_description", "-")
            for column in node["columns"].values():
                yield f"{name}.{column['name']}", column["description"]
    macros = {m["name"]: m for m in manifest["macros"].values() if m["package_name"] == OWN}
    for name, macro in macros.items():
        base = macros.get(re.sub("^(default|spark)__", "", name), macro)  # what dispatches to it
        base = macro if macro["description"] else base
        yield f"macro {name}", base["description"]
        told = {a["name"]: a["description"] for a in base["arguments"]}
        for argument in arguments_of(macro["macro_sql"]):
            yield f"macro {name}({argument})", told.get(argument, "")
    for name, exposure in manifest["exposures"].items():
        yield name, exposure["description"]


def arguments_of(macro_sql: str) -> list[str]:
    """Names of a macro's arguments."""
    match = SIGNATURE.search(macro_sql)
    parts = match[1].split(",") if match else []
    return [name for name in (p.split("=")[0].strip() for p in parts) if name]


def test_everything_is_described(manifest: Node):
    texts = list(described(manifest))
    assert len(texts) > 3000
    assert [name for name, text in texts if not text.strip()] == []


def test_every_model_seed_and_source_lists_its_columns(manifest: Node, dictionary: Path):
    """A column that is not listed has no description either, so the warehouse is asked."""
    catalog = json.loads((dictionary / "catalog.json").read_text())
    unlisted = [
        f"{name}.{column}"
        for kind in ("nodes", "sources")
        for name, table in catalog[kind].items()
        for column in table["columns"]
        if column not in {**manifest["nodes"], **manifest["sources"]}[name]["columns"]
    ]
    assert unlisted == []
    assert len(catalog["nodes"]) > 100


def test_wide_columns_have_definition_unit_and_window(manifest: Node):
    """A definition comes first, then `Unit: ...` and `Window: ...`, in either order."""
    lacking = []
    for name, column in manifest["nodes"][WIDE]["columns"].items():
        text = " ".join(column["description"].split())
        definition = re.split(r"(?:Unit|Window): ", text)[0]
        parts = len(definition) > 10, re.search(r"Unit: \S", text), re.search(r"Window: \S", text)
        if not all(parts):
            lacking.append(name)
    assert lacking == []


def test_lineage_ends_in_exposures(manifest: Node):
    """What users are given leads to an exposure, each with an owner and a maturity."""
    exposures = manifest["exposures"].values()
    assert {e["name"] for e in exposures} >= {
        "published_warehouse",
        "dataset_exports",
        "quality_report",
    }
    for exposure in exposures:
        assert exposure["owner"]["name"]
        assert exposure["maturity"]
    exposed = [p for e in exposures for p in e["depends_on"]["nodes"]]
    seen: set[str] = set()
    while exposed:
        name = exposed.pop()
        if name not in seen and name in manifest["nodes"]:
            seen.add(name)
            exposed += manifest["nodes"][name]["depends_on"].get("nodes", [])
    given = {
        name
        for name, node in manifest["nodes"].items()
        if node["resource_type"] == "model"
        and node["original_file_path"].split("/")[2] in ("marts", "quality", "evaluation")
    }
    assert sorted(given - seen) == []


@pytest.fixture(scope="session")
def page(dictionary: Path) -> Iterator[Tab]:
    """The page at `final_dataset`, in a browser that reaches no network."""
    address = (dictionary / "static_index.html").as_uri()
    with visit(f"{address}#!/model/{WIDE}", ready="document.querySelector('.model-markdown')") as t:
        yield t


def test_the_page_opens_offline_without_an_error(page: Tab):
    assert page.page.errors == []
    assert [r for r in page.page.requests if not r.startswith(("file:", "data:", "blob:"))] == []


def test_a_table_shows_its_columns(page: Tab, manifest: Node):
    text = page.evaluate("document.body.innerText")
    assert "final_dataset" in text
    columns = manifest["nodes"][WIDE]["columns"]
    missing = [name for name in columns if name not in text]
    assert missing == []
    assert "Average price that was really paid" in text  # of vwap_quote


def test_the_lineage_ends_in_what_users_are_given(page: Tab):
    """By the page's own links, and in the graph that it draws."""
    used_by = page.evaluate("document.body.innerText.split('Referenced By').pop()")
    assert "Exposures" in used_by.split("Depends On")[0]
    page.evaluate(f"location.hash = '#!/exposure/exposure.{OWN}.dataset_exports'")
    page.wait("document.body.innerText.includes('AlphaQCM')")
    links = page.evaluate("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert f"#!/model/{WIDE}" in links
    page.evaluate("document.querySelector('[ng-click*=onLauncherClick]').click()")
    page.wait(DRAWN)
    assert page.page.errors == []
