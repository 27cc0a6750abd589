"""``build_log``, written by the project's own hooks in a project of two models."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import duckdb
import pytest
import yaml

from ingest import builds
from ingest.builds import Build, publishable
from ingest.cli import cli
from ingest.config import PROJECT_ROOT
from ingest.errors import UsageError
from ingest.warehouse import attach
from tests.publish.conftest import Warehouse

FILES = {
    "models/a.sql": "select 1 as id",
    "models/e.sql": "{{ config(materialized='ephemeral') }} select 1 as id",
    "models/b.sql": """
        {{ config(materialized='table') }}
        select a.id, {{ env_var('X') }} as x from {{ ref('a') }} as a cross join {{ ref('e') }} as e
    """,
    "models/_models.yml": """
        models:
          - name: a
            columns: [{name: id, data_tests: [unique]}]
          - name: b
            columns:
              - name: x
                data_tests:
                  - not_null
                  - accepted_values:
                      arguments: {values: [2], quote: false}
                      config: {severity: warn}
        unit_tests:
          - name: u
            model: a
            given: []
            expect: {rows: [{id: 1}]}
    """,
    "seeds/s.csv": "n\n1\n",
    "lake/_log/1.jsonl": "",
}
RUN = """
import json, os, sys
from dbt.cli.main import dbtRunner
for command in json.loads(sys.argv[1]):
    os.environ["X"] = command.pop()[2:] if command[-1].startswith("X=") else "1"
    dbtRunner().invoke(["--quiet", "--log-level-file", "none", *command])
"""
COMMANDS = {
    "whole": ["build"],
    "without unit tests": ["build", "--exclude-resource-type", "unit_test"],
    "without a data test": ["build", "--exclude", "unique_a_id"],
    "a selection": ["run", "--select", "a"],
    "no rows": ["build", "--empty"],
    "tests": ["test"],
    "a failing test": ["build", "X=cast(null as int)"],
    "a failing model": ["build", "X=no_such_column"],
    "nothing: compile": ["compile"],
    "nothing: docs": ["docs", "generate"],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the hooks and macros of this one, in which all commands have run."""
    root = tmp_path_factory.mktemp("project")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(dedent(text))
    whole = yaml.safe_load((PROJECT_ROOT / "dbt_project.yml").read_text())
    keep = ("name", "profile", "flags", "on-run-start", "on-run-end")
    # what tables are made from is another matter, and needs the materializations of this project
    whole["on-run-start"] = [h for h in whole["on-run-start"] if "prepare_states" not in h]
    (root / "dbt_project.yml").write_text(yaml.safe_dump({key: whole[key] for key in keep}))
    shutil.copytree(PROJECT_ROOT / "macros/dialect", root / "macros/dialect")
    for name in ("check_lake.sql", "record_build.sql"):
        shutil.copy(PROJECT_ROOT / "macros" / name, root / "macros")
    shutil.copy(PROJECT_ROOT / "profiles.yml", root)
    commands = [c for name, c in COMMANDS.items() if name != "whole"] + [COMMANDS["whole"]]
    subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(commands)],
        cwd=root, env={**os.environ, "PERP_LAKE": "lake", "PERP_WAREHOUSE": "w.duckdb"},
        check=True, capture_output=True,
    )  # fmt: skip
    return root


@pytest.fixture(scope="module")
def rows(project: Path) -> dict[str, dict[str, Any]]:
    """The row of each command."""
    with contextlib.closing(
        duckdb.connect(str(project / "w.duckdb"), read_only=True)
    ) as connection:
        found = connection.execute("from build_log order by started_at")
        names = [d[0] for d in found.description]
        made = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        starts = connection.execute("select invocation_id from build_starts").fetchall()
    assert {(r["invocation_id"],) for r in made} == set(starts)
    logged = [name for name in COMMANDS if not name.startswith("nothing") and name != "whole"]
    return dict(zip([*logged, "whole"], made, strict=True))


def test_commands_that_change_nothing_write_no_row(rows: dict[str, dict[str, Any]]):
    assert len(rows) == sum(not name.startswith("nothing") for name in COMMANDS)


def test_a_build_is_whole_if_nothing_was_left_out_but_unit_tests(rows: dict[str, dict[str, Any]]):
    assert {name for name, row in rows.items() if row["is_whole"]} == {
        "whole", "without unit tests", "a failing test", "a failing model",
    }  # fmt: skip


def test_counts(rows: dict[str, dict[str, Any]]):
    names = ("n_models", "n_tests", "n_errors", "n_warnings", "n_skipped")

    def counts(name: str) -> tuple[int, ...]:
        return tuple(rows[name][n] for n in names)

    assert counts("whole") == (3, 4, 0, 1, 0)
    assert counts("without unit tests") == (3, 3, 0, 1, 0)
    assert counts("tests") == (0, 4, 0, 0, 0), "of the tables without rows"
    assert counts("a selection") == (1, 0, 0, 0, 0)
    assert counts("a failing test") == (3, 4, 1, 0, 0)
    assert counts("a failing model") == (3, 2, 1, 0, 2)


def test_times_and_commands(rows: dict[str, dict[str, Any]]):
    assert rows["a selection"]["command"] == "run"
    ends = [row["ended_at"] for row in rows.values()]
    assert ends == sorted(ends)
    assert all(row["started_at"] < row["ended_at"] for row in rows.values())


def test_publish_reads_it(project: Path, rows: dict[str, dict[str, Any]]):
    with contextlib.closing(duckdb.connect()) as connection:
        name = attach(connection, project / "w.duckdb")
        assert publishable(connection, name) == Build(**rows["whole"])


def test_a_build_that_is_killed_is_on_record(project: Path):
    """Killed by a model: its start stands, and no end."""
    (project / "models/b.py").write_text(
        "import os\n\n\ndef model(dbt, session):\n    os.kill(os.getpid(), 9)\n    return 1\n"
    )
    (project / "models/b.sql").unlink()
    killed = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps([["run"]])],
        cwd=project, env={**os.environ, "PERP_LAKE": "lake", "PERP_WAREHOUSE": "w.duckdb"},
        check=False, capture_output=True,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    with contextlib.closing(duckdb.connect()) as connection:
        name = attach(connection, project / "w.duckdb")
        with pytest.raises(UsageError, match=r"dbt run of .* did not end"):
            publishable(connection, name)


def test_what_is_edited_since_is_a_reason_to_build(
    warehouse: Warehouse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    root = tmp_path / "project"
    model = root / "dbt_project/models/a.sql"
    for path in (model, root / "macros/a.sql", root / "tests/dbt/a.sql",
                 root / "dbt_project.yml", root / "profiles.yml"):  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    monkeypatch.setattr(builds, "PROJECT_ROOT", root)
    warehouse.now = datetime.now(UTC).replace(tzinfo=None)
    warehouse.log()
    assert builds.reason_to_build(warehouse.config) is None
    config = warehouse.config
    where = ["--lake", str(config.lake), "--warehouse", str(config.warehouse)]
    cli(["build", *where], standalone_mode=False)
    assert "nothing to build" in capsys.readouterr().out

    later = (warehouse.now + timedelta(minutes=1)).replace(tzinfo=UTC).timestamp()
    (root / "dbt_project/__pycache__").mkdir()
    os.utime(root / "dbt_project", (later, later))
    assert builds.reason_to_build(config) is None, "Python's bytecode is no edit"
    os.utime(model.parent, (later, later))
    assert "dbt_project/models has changed" in str(builds.reason_to_build(config))
    os.utime(model, (later + 1, later + 1))
    assert "models/a.sql has changed" in str(builds.reason_to_build(config))
