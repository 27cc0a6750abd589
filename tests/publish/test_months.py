"""Months that stand are taken over, and what is published is the warehouse all the same."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from ingest import publish as publishing
from ingest.publish import publish
from tests.publish.conftest import Warehouse
from tests.publish.test_publish import DIE, perp, read

MONTHS = [f"2023-{n:02d}" for n in range(1, 9)]
SERIES = ("final_dataset", "hourly_bars")
A_VIEW = "create or replace view a_view as select * from final_dataset where x > 0.5"


@dataclass
class Monthly:
    """A warehouse whose build put on record what it has built, month by month."""

    warehouse: Warehouse

    def build(self, table: str, *months: str) -> None:
        """Build months of a table, with other values than before."""
        self.run(
            *self.cleared(table, months),
            *(
                f"""insert into {table} by name
                select symbol, timestamp '{month}-01' + hour * interval 6 hour as hour_ts,
                    {self.number} as version, random() as x
                from (values ('BTCUSDT'), ('币安人生USDT'), ('ETHUSDT')) as s (symbol),
                    range(100) as r (hour)
                order by random()"""
                for month in months
            ),
            self.recorded(table, months, "built of the same files"),
        )

    def clear(self, table: str, *months: str) -> None:
        """Drop months of a table."""
        self.run(*self.cleared(table, months))

    def cleared(self, table: str, months: Sequence[str]) -> list[str]:
        listed = ", ".join(f"'{month}'" for month in months)
        return [
            f"delete from {table} where strftime(hour_ts, '%Y-%m') in ({listed})",
            self.recorded(table, months, ""),
        ]

    def record(self, table: str, month: str, state: str) -> None:
        """Put on record from what a month has been built."""
        self.run(self.recorded(table, [month], state))

    def recorded(self, table: str, months: Sequence[str], state: str) -> str:
        self.warehouse.now += timedelta(seconds=1)
        rows = (f"('{table}', '{month}', '{state}', '{self.warehouse.now}')" for month in months)
        return f"insert into build_states values {', '.join(rows)}"

    def publish(self) -> dict[str, str]:
        """Publish the next build; returns how each file came about, by its path."""
        before = {p.stat().st_ino for p in self.files()}
        self.warehouse.log()
        assert publish(self.warehouse.config).is_new
        self.check()
        return {
            p.relative_to(self.folder).as_posix(): "taken" if p.stat().st_ino in before else "new"
            for p in self.files()
        }

    def check(self) -> None:
        """What is published is what the warehouse has, in both formats, as the manifest says."""
        manifest = json.loads((self.folder / "manifest.json").read_text())
        listed = {f["path"]: f for f in manifest["files"]}
        assert listed.keys() == {p.relative_to(self.folder).as_posix() for p in self.files()}
        for path, entry in listed.items():
            content = (self.folder / path).read_bytes()
            assert hashlib.sha256(content).hexdigest() == entry["sha256"], path
            assert (self.folder / path).stat().st_mode & 0o222 == 0, path
        with contextlib.closing(duckdb.connect()) as connection:
            connection.execute(f"attach '{self.warehouse.config.warehouse}' as made (read_only)")
            connection.execute(f"attach '{self.folder / 'warehouse.duckdb'}' as out (read_only)")
            for table in [*SERIES, "a_view", "gaps"]:
                sources = {"the file": f"out.{table}"}
                if table in SERIES:
                    columns = ", ".join(manifest["tables"][table]["columns"])
                    files = f"'{self.folder}/parquet/{table}/*/*.parquet'"
                    sources["Parquet"] = f"(select {columns} from {files})"
                for name, source in sources.items():
                    for a, b in ((f"made.{table}", source), (source, f"made.{table}")):
                        query = f"select count(*) from (from {a} except all from {b})"
                        assert connection.execute(query).fetchone() == (0,), (table, name, a)

    def run(self, *statements: str) -> None:
        self.warehouse.run(*statements)

    def manifest_of(self, table: str) -> dict[str, object]:
        """What the manifest says of a table."""
        manifest = json.loads((self.folder / "manifest.json").read_text())
        found: dict[str, object] = manifest["tables"][table]
        return found

    def files(self) -> list[Path]:
        """All files that are published, but the manifest."""
        files = self.folder.rglob("*") if self.folder.exists() else ()
        return sorted(p for p in files if p.is_file() and p.name != "manifest.json")

    @property
    def number(self) -> int:
        self.warehouse.number += 1
        return self.warehouse.number

    @property
    def folder(self) -> Path:
        return self.warehouse.current.resolve()


def parts(files: dict[str, str], table: str) -> dict[str, str]:
    """How each month's Parquet file of a table came about."""
    return {
        path.split("/")[2].removeprefix("month="): origin
        for path, origin in files.items()
        if path.startswith(f"parquet/{table}/")
    }


@pytest.fixture
def monthly(warehouse: Warehouse) -> Monthly:
    """Two series, a view of one of them, and a table without months of its own; published."""
    made = Monthly(warehouse)
    made.run(
        """create table build_states (
            name string, month string, state string, recorded_at timestamp
        )""",
        "drop table liquidation_factors_15m",
        "create table gaps as select 1 as n",
        A_VIEW,
    )
    for table in SERIES:
        made.run(
            f"""create or replace table {table} (
                symbol string, hour_ts timestamp, version int, x double
            )"""
        )
        made.build(table, *MONTHS)
    made.record("gaps", MONTHS[0], "built of the same files")
    files = made.publish()
    assert set(files.values()) == {"new"}
    return made


def test_only_new_months_are_written(monthly: Monthly):
    old = monthly.folder
    then = {p: p.read_bytes() for p in monthly.files()}
    monthly.build("final_dataset", MONTHS[-1])
    files = monthly.publish()
    for table in ("final_dataset", "a_view"):
        assert parts(files, table) == dict.fromkeys(MONTHS[:-1], "taken") | {MONTHS[-1]: "new"}
        assert monthly.manifest_of(table)["behind"] == [MONTHS[-1]]
    assert set(parts(files, "hourly_bars").values()) == {"taken"}
    assert monthly.manifest_of("hourly_bars")["behind"] == []
    assert monthly.folder != old
    assert all(path.read_bytes() == content for path, content in then.items())


def test_months_come_and_go(monthly: Monthly):
    monthly.build("final_dataset", "2023-09")
    monthly.clear("final_dataset", MONTHS[0])
    files = parts(monthly.publish(), "final_dataset")
    assert files == dict.fromkeys(MONTHS[1:], "taken") | {"2023-09": "new"}
    assert monthly.manifest_of("final_dataset")["behind"] == [MONTHS[0], "2023-09"]


def test_what_is_not_on_record_is_written(monthly: Monthly):
    monthly.run("insert into hourly_bars values ('BTCUSDT', '2025-01-01', 7, 7)")
    assert set(parts(monthly.publish(), "hourly_bars").values()) == {"new"}
    monthly.run("delete from build_states where name = 'final_dataset'")
    files = monthly.publish()
    assert set(parts(files, "final_dataset").values()) == {"new"}
    assert set(parts(files, "a_view").values()) == {"new"}


def test_rows_that_have_gone_without_record_are_seen(monthly: Monthly):
    monthly.run(f"delete from hourly_bars where hour_ts = '{MONTHS[2]}-01 06:00:00'")
    files = parts(monthly.publish(), "hourly_bars")
    assert files == dict.fromkeys(MONTHS, "taken") | {MONTHS[2]: "new"}


def test_a_table_without_months_of_its_own_is_written_if_it_is_new(monthly: Monthly):
    monthly.run("update gaps set n = 2")
    monthly.record("gaps", MONTHS[0], "built of other files")
    monthly.publish()
    assert read(monthly.folder, "from gaps") == [(2,)]


def test_tables_and_columns_come_and_go(monthly: Monthly):
    monthly.run(
        "alter table hourly_bars add column y int default 5",
        "create table another as select 3 as n",
        "drop table int_liquidations",
        "comment on column final_dataset.x is 'Something else'",
        "comment on table final_dataset is null",
    )
    files = monthly.publish()
    assert set(parts(files, "hourly_bars").values()) == {"new"}
    assert set(parts(files, "final_dataset").values()) == {"taken"}
    query = "select table_name from information_schema.tables order by 1"
    assert read(monthly.folder, query) == [
        (name,)
        for name in sorted(
            ("a_view", "another", "build_log", "final_dataset", "gaps", "hourly_bars")
        )
    ]
    query = "select comment from {} where table_name = 'final_dataset' and comment is not null"
    assert read(monthly.folder, query.format("duckdb_columns()")) == [("Something else",)]
    assert read(monthly.folder, query.format("duckdb_tables()")) == []


def test_columns_in_another_order_are_another_table(monthly: Monthly):
    monthly.run(
        "create or replace table hourly_bars as select hour_ts, x, symbol, version from hourly_bars"
    )
    assert set(parts(monthly.publish(), "hourly_bars").values()) == {"new"}


def test_a_view_is_new_where_any_of_its_tables_is_and_everywhere_if_it_says_something_else(
    monthly: Monthly,
):
    for factor in (1, 2):
        monthly.run(
            "create or replace view a_view as "
            f"select symbol, hour_ts, version, {factor} * x as x from final_dataset"
        )
        assert set(parts(monthly.publish(), "a_view").values()) == {"new"}
    monthly.run(
        """create or replace view a_view as
        select f.* from final_dataset as f join hourly_bars as b using (symbol, hour_ts)"""
    )
    assert set(parts(monthly.publish(), "a_view").values()) == {"new"}
    monthly.build("hourly_bars", MONTHS[3])
    assert parts(monthly.publish(), "a_view")[MONTHS[3]] == "new"
    monthly.build("final_dataset", MONTHS[4])
    files = parts(monthly.publish(), "a_view")
    assert files == dict.fromkeys(MONTHS, "taken") | {MONTHS[4]: "new"}
    monthly.run(
        "create or replace view a_view as select f.* from final_dataset f join gaps on true"
    )
    assert set(parts(monthly.publish(), "a_view").values()) == {"new"}
    monthly.record("gaps", "none", "is of all months")
    assert set(parts(monthly.publish(), "a_view").values()) == {"new"}


def test_a_file_is_written_anew_now_and_then(monthly: Monthly, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(publishing, "_MONTHS_BEHIND", 2)
    behind = []
    for month in (MONTHS[-1], MONTHS[-1], MONTHS[-2], MONTHS[-3]):
        monthly.build("hourly_bars", month)
        assert parts(monthly.publish(), "hourly_bars")[month] == "new"
        behind.append(monthly.manifest_of("hourly_bars")["behind"])
    assert behind == [MONTHS[-1:], MONTHS[-1:], MONTHS[-2:], []]
    rows = read(monthly.folder, "select symbol, hour_ts from hourly_bars")
    assert rows == sorted(rows)
    for month in MONTHS[:5]:
        monthly.build("hourly_bars", month)
    files = parts(monthly.publish(), "hourly_bars")
    assert [files[month] for month in MONTHS] == ["new"] * 5 + ["taken"] * 3
    assert monthly.manifest_of("hourly_bars")["behind"] == []


def test_a_symbol_of_years_is_work_for_several_threads(monthly: Monthly):
    groups = "select count(distinct row_group_id) from pragma_storage_info('long')"
    for years in (5, 6):
        monthly.run(
            f"""create or replace table long as
            select 'BTCUSDT' as symbol, timestamp '2018-01-01' + h * interval 1 hour as hour_ts
            from range({years} * 365 * 24) as r (h)"""
        )
        monthly.publish()
        assert read(monthly.folder, groups) == [(2,)]


def test_another_duckdb_begins_anew(monthly: Monthly):
    path = monthly.folder / "manifest.json"
    path.chmod(0o644)
    path.write_text(path.read_text().replace(duckdb.__version__, "0.0.1"))
    assert set(monthly.publish().values()) == {"new"}


def test_without_hard_links_files_are_copied(monthly: Monthly, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    monthly.build("final_dataset", MONTHS[-1])
    assert set(monthly.publish().values()) == {"new"}


def test_space_is_needed_for_what_is_written(monthly: Monthly, monkeypatch: pytest.MonkeyPatch):
    file = (monthly.folder / "warehouse.duckdb").stat().st_size
    usage = shutil.disk_usage(monthly.folder)._replace(free=file + 20_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monthly.build("final_dataset", MONTHS[-1])
    monthly.publish()


@pytest.mark.parametrize("moment", ["p.shutil.copyfile", "p._take_over", "p._audit"])
def test_killed_while_it_takes_over_the_version_before_stays_whole(monthly: Monthly, moment: str):
    before = monthly.folder
    monthly.build("final_dataset", MONTHS[-1])
    monthly.warehouse.log()
    process = perp(monthly.warehouse.config, "publish", before=f"{DIE}{moment} = die")
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    assert monthly.folder == before
    assert publishing.current_manifest(monthly.warehouse.config.published)
    monthly.publish()


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.deep)])
def test_whatever_is_built_again_the_published_is_the_warehouse(monthly: Monthly, seed: int):
    rng = random.Random(seed)
    for step in range(6):
        for table in rng.sample(SERIES, rng.randint(0, 2)):
            for month in rng.sample([*MONTHS, "2023-09", "2023-10"], rng.randint(1, 3)):
                rng.choice([monthly.build, monthly.build, monthly.clear])(table, month)
        if rng.random() < 0.2:
            monthly.run(
                f"alter table {rng.choice(SERIES)} add column y{step} int default {step}", A_VIEW
            )
        monthly.publish()
