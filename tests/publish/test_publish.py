"""What is published: a whole version of a clean build, or nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.dataset
import pytest

from ingest import publish as publishing
from ingest.config import Config
from ingest.errors import PerpError, UsageError
from ingest.publish import publish
from tests.publish.conftest import HOURS, SYMBOLS, Warehouse

SETTINGS = {"enable_external_access": False}


def perp(config: Config, *arguments: str, before: str = "") -> subprocess.Popen[str]:
    """Start the command in a process of its own; ``before`` is Python to run first."""
    command = f"{before}\nimport sys\nfrom ingest.cli import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", command, *arguments, "--warehouse", config.warehouse,
         "--published", config.published],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def read(path: Path, query: str) -> list[tuple[object, ...]]:
    """Rows of a query on a published file, opened as a careful reader does."""
    with contextlib.closing(
        duckdb.connect(str(path / "warehouse.duckdb"), read_only=True, config=SETTINGS)
    ) as connection:
        return connection.execute(query).fetchall()


def test_the_file_has_what_readers_query_and_nothing_else(warehouse: Warehouse):
    publish(warehouse.config)
    tables = dict(
        read(warehouse.current, "select table_name, table_type from information_schema.tables")
    )
    assert set(tables) == {
        "final_dataset", "hourly_bars", "liquidation_factors_15m", "int_liquidations", "a_view",
        "build_log",
    }  # fmt: skip
    assert set(tables.values()) == {"BASE TABLE"}
    rows = read(warehouse.current, "select symbol, hour_ts from final_dataset")
    assert len(rows) == len(SYMBOLS) * HOURS
    assert rows == sorted(rows)
    with pytest.raises(duckdb.PermissionException):
        read(warehouse.current, "from 'parquet/final_dataset/**/*.parquet'")


def test_comments_stay(warehouse: Warehouse):
    publish(warehouse.config)
    assert read(
        warehouse.current, "select comment from duckdb_tables() where table_name = 'final_dataset'"
    ) == [("One row per symbol and hour",)]
    assert read(
        warehouse.current, "select comment from duckdb_columns() where column_name = 'x' and "
        "table_name = 'final_dataset'"
    ) == [("What it's for",)]  # fmt: skip


def test_large_tables_are_sorted_a_few_symbols_at_a_time(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(publishing, "_CELLS_AT_ONCE", 4 * HOURS + 1)
    publish(warehouse.config)
    rows = read(warehouse.current, "select symbol, hour_ts from final_dataset")
    assert rows == sorted(rows)
    assert len(rows) == len(SYMBOLS) * HOURS


def test_ranges_of_symbols_cover_all_of_them():
    counts = [("A", 5), ("B", 5), ("C", 1), ("D", 20), ("E", 1)]
    assert list(publishing._ranges(counts, 10)) == [("A", "B"), ("C", "D"), ("E", "E")]
    assert list(publishing._ranges(counts, 1000)) == [("A", "E")]


def test_the_manifest_says_what_is_there(warehouse: Warehouse):
    build = warehouse.build()
    publish(warehouse.config)
    folder = warehouse.current.resolve()
    manifest = json.loads((folder / "manifest.json").read_text())
    listed = {f["path"]: f for f in manifest["files"]}
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert there == {*listed, "manifest.json"}
    for path, entry in listed.items():
        content = (folder / path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], path
        assert len(content) == entry["bytes"], path
        assert (folder / path).stat().st_mode & 0o222 == 0, path
        if path.endswith(".parquet"):
            assert len(pl.read_parquet(folder / path)) == entry["rows"], path
    for name, table in manifest["tables"].items():
        assert read(folder, f"select count(*) from {name}") == [(table["rows"],)]
    assert manifest["tables"]["final_dataset"]["columns"]["hour_ts"] == "TIMESTAMP"
    assert manifest["version"] == folder.name
    assert manifest["build"]["invocation_id"] == build
    assert (manifest["first"], manifest["last"]) == ("2024-01-01T00:00:00", "2024-03-10T23:00:00")
    assert manifest["warehouse"] == str(warehouse.config.warehouse)
    assert manifest["package_version"]


@pytest.mark.parametrize("partition_by", ["month", "symbol"])
def test_parquet_reads_back_in_other_tools(warehouse: Warehouse, partition_by):
    publish(warehouse.config, partition_by=partition_by)
    folder = warehouse.current.resolve() / "parquet/final_dataset"
    names = sorted(p.name for p in folder.iterdir())
    if partition_by == "month":
        assert names == ["month=2024-01", "month=2024-02", "month=2024-03"]
    else:
        assert [n.isascii() for n in names] == [True] * len(SYMBOLS)
    query = f"select symbol, hour_ts, version, x from '{folder}/**/*.parquet' order by 1, 2"
    with contextlib.closing(duckdb.connect()) as connection:
        rows = connection.execute(query).fetchall()
    assert rows == read(warehouse.current, "select symbol, hour_ts, version, x from final_dataset")
    in_polars = pl.scan_parquet(f"{folder}/**/*.parquet", hive_partitioning=True).collect()
    assert set(in_polars["symbol"]) == set(SYMBOLS)
    in_arrow = pyarrow.dataset.dataset(folder, partitioning="hive").to_table(columns=["symbol"])
    assert set(in_arrow["symbol"].to_pylist()) == set(SYMBOLS)
    assert not (folder.parent / "int_liquidations").exists()


UNFIT = {
    "an error": (lambda w: w.build(n_errors=2), "2 errors"),
    "skipped": (lambda w: w.build(n_skipped=1), "1 skipped"),
    "a selection": (lambda w: w.log("run", is_whole=False, n_models=1), "left out"),
    "killed": (lambda w: w.log("run", ended=False), "did not end"),
    "later tests": (lambda w: w.log("test", n_errors=3, is_whole=False), "tests have failed"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_an_unfit_build_is_not_published_and_the_old_version_stays(warehouse: Warehouse, name):
    publish(warehouse.config)
    before = warehouse.published()
    spoil, message = UNFIT[name]
    spoil(warehouse)
    with pytest.raises(UsageError, match=f"{message}.*perp build"):
        publish(warehouse.config)
    assert warehouse.published() == before
    assert warehouse.versions() == [before[0]]
    warehouse.build()
    assert publish(warehouse.config).is_new


def test_warnings_and_tests_that_pass_do_not_keep_a_build_back(warehouse: Warehouse):
    warehouse.build(n_warnings=7)
    warehouse.log("test", is_whole=False)
    warehouse.log("test", ended=False)
    assert publish(warehouse.config).is_new


def test_exit_codes_and_messages(warehouse: Warehouse, tmp_path: Path):
    warehouse.build(n_errors=1)
    process = perp(warehouse.config, "publish")
    assert "1 errors" in process.communicate()[1]
    assert process.returncode == 2
    with pytest.raises(UsageError, match=r"there is no warehouse .*perp build"):
        publish(Config(tmp_path, tmp_path / "none.duckdb", "", "", published=tmp_path / "p"))
    with contextlib.closing(duckdb.connect(str(tmp_path / "bare.duckdb"))):
        pass
    with pytest.raises(UsageError, match=r"no build on record.*perp build"):
        publish(Config(tmp_path, tmp_path / "bare.duckdb", "", "", published=tmp_path / "p"))


def test_a_warehouse_that_is_being_built_is_left_alone(warehouse: Warehouse):
    path = str(warehouse.config.warehouse)
    code = f"import duckdb; c = duckdb.connect({path!r}); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as builder:
        builder.stdout.readline()
        with pytest.raises(PerpError, match="is open in another process"):
            publish(warehouse.config)
        builder.communicate("\n")


def test_a_build_is_published_once(warehouse: Warehouse):
    first = publish(warehouse.config)
    again = publish(warehouse.config)
    assert (again.is_new, again.version) == (False, first.version)
    assert "nothing to publish" in again.text
    assert publish(warehouse.config, partition_by="symbol").is_new
    damaged = warehouse.current.resolve() / "warehouse.duckdb"
    damaged.unlink()
    damaged.touch()
    assert publish(warehouse.config, partition_by="symbol").is_new


def test_keep(warehouse: Warehouse):
    made = [publish(warehouse.config).version]
    for _ in range(3):
        warehouse.build()
        made.append(publish(warehouse.config, keep=2).version)
    assert warehouse.versions() == sorted(made[-2:])
    assert publish(warehouse.config, keep=1).removed == made[-2:-1]
    assert warehouse.versions() == made[-1:]
    other = warehouse.config.published / "versions/notes"
    other.mkdir()
    warehouse.build()
    publish(warehouse.config, keep=1)
    assert other.exists(), "not a version"


def test_an_open_connection_survives_the_removal_of_its_version(warehouse: Warehouse):
    publish(warehouse.config)
    old = warehouse.current.resolve() / "warehouse.duckdb"
    with contextlib.closing(duckdb.connect(str(old), read_only=True)) as connection:
        warehouse.build()
        publish(warehouse.config, keep=1)
        assert not old.exists()
        assert connection.execute("select distinct version from final_dataset").fetchall() == [(1,)]
        assert connection.execute("select sum(x) > 0 from hourly_bars").fetchall() == [(True,)]
    assert warehouse.published()[1] == 2


# ------------------------------------------------------------------------------ what can go wrong
DIE = "import os; from ingest import publish as p; die = lambda *a, **k: os.kill(os.getpid(), 9)\n"
MOMENTS = {  # what is replaced by death, and whether the new version stands after it
    "at the first table": ("p._Writer._copy = die", False),
    "at the first Parquet file": ("p._Writer._export = die", False),
    "before the checksums": ("p._settle = die", False),
    "before the manifest": ("p._Writer._manifest = die", False),
    "before it has its name": ("p.Path.rename = die", False),
    "before the link": ("p._point = die", False),
    "in the middle of the link": ("p.os.replace = die", False),
    "before old versions go": ("p._remove_old = die", True),
    "while old versions go": (
        "p.shutil.rmtree = lambda path, **_: None if path.name == 'spill' else die()", True,
    ),
}  # fmt: skip


def test_killed_at_any_moment_current_is_whole_and_the_next_publish_cleans_up(
    warehouse: Warehouse,
):
    for _ in range(2):
        warehouse.build()
        publish(warehouse.config)
    for moment, (death, stands) in MOMENTS.items():
        warehouse.build()
        process = perp(warehouse.config, "publish", "--keep", "2", before=DIE + death)
        _, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, (moment, errors)
        expected = warehouse.number if stands else warehouse.number - 1
        assert warehouse.published()[1] == expected, moment
        assert publishing.current_manifest(warehouse.config.published), moment

        assert publish(warehouse.config, keep=2).is_new != stands, moment
        assert warehouse.published()[1] == warehouse.number, moment
        assert len(warehouse.versions()) == 2, moment
        assert all(publishing._VERSION.fullmatch(v) for v in warehouse.versions()), moment
        assert {p.name for p in warehouse.config.published.iterdir()} == {
            ".lock", "current", "versions",
        }, moment  # fmt: skip


# DuckDB hears three SIGINT in four by itself, and SIGTERM never.
SIGTERM_AS_SIGINT = "import signal\nsignal.signal(signal.SIGTERM, signal.default_int_handler)\n"
LONG = {
    "in Python": "p._settle = lambda *_: print('here', flush=True) or time.sleep(60)",
    "in a query": (
        "p._Writer._copy = lambda self, *_: print('here', flush=True) or "
        "self.connection.execute('select sum(random()) from range(20000000000)')"
    ),
    "in the audit": """
audit = p._audit
def slow(*arguments):
    p.quoted = lambda _: "(select random() as x from range(20000000000)) where x > 2"
    print("here", flush=True)
    audit(*arguments)
p._audit = slow
""",
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", LONG)
def test_interrupted_it_leaves_nothing_behind(warehouse: Warehouse, where, number):
    publish(warehouse.config)
    before = warehouse.published()
    warehouse.build()
    wait = f"{SIGTERM_AS_SIGINT}import time\nfrom ingest import publish as p\n{LONG[where]}"
    process = perp(warehouse.config, "publish", before=wait)
    assert process.stdout.readline() == "here\n"
    time.sleep(0.3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert warehouse.published() == before
    assert warehouse.versions() == [before[0]]


def test_two_at_once_publish_one_version(warehouse: Warehouse):
    root = warehouse.config.published
    (root / "versions").mkdir(parents=True)
    with publishing._alone(root):
        both = [perp(warehouse.config, "publish") for _ in range(2)]
        time.sleep(3)
        assert all(p.poll() is None for p in both), "they wait"
        assert warehouse.versions() == []
    printed = [p.communicate()[0] for p in both]
    assert [p.returncode for p in both] == [0, 0]
    assert sum("nothing to publish" in text for text in printed) == 1
    assert len(warehouse.versions()) == 1


def test_no_space_is_said_before_any_work(warehouse: Warehouse, monkeypatch):
    publish(warehouse.config)
    warehouse.build()
    usage = shutil.disk_usage(warehouse.config.published)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(PerpError, match=r"no space left.*--keep"):
        publish(warehouse.config)
    assert len(warehouse.versions()) == 1


def test_a_disk_that_fills_up_leaves_the_old_version(warehouse: Warehouse, monkeypatch):
    publish(warehouse.config)
    before = warehouse.published()
    warehouse.build()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PerpError, match=r"no space left.*what was published stays"):
        publish(warehouse.config)
    assert warehouse.published() == before
    assert warehouse.versions() == [before[0]]


def test_a_folder_in_the_links_place_is_not_touched(warehouse: Warehouse):
    warehouse.current.mkdir(parents=True)
    with pytest.raises(UsageError, match="move it away"):
        publish(warehouse.config)
    assert warehouse.current.is_dir()
