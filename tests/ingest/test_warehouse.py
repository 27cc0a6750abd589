"""A warehouse is opened to be read, and what goes wrong is said."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import duckdb
import pytest

from ingest.errors import PerpError, UsageError
from ingest.warehouse import opened


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    """A file with a table of one row."""
    path = tmp_path / "w.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table t as select 1 as x")
    return path


def ask(path: Path, query: str) -> object:
    with opened(path, "1GB") as connection:
        return connection.execute(query).fetchall()


def test_it_is_read_and_stays_as_it_is(warehouse: Path):
    assert ask(warehouse, "select x from t") == [(1,)]
    with pytest.raises(PerpError, match="read-only"):
        ask(warehouse, "insert into t values (2)")


def test_what_is_not_there_or_no_warehouse(tmp_path: Path):
    with pytest.raises(UsageError, match=r"there is no warehouse .* perp build"):
        ask(tmp_path / "none.duckdb", "select 1")
    (tmp_path / "text.duckdb").write_text("this is no database" * 1000)
    with pytest.raises(PerpError, match=r"cannot open the warehouse .*not a valid DuckDB"):
        ask(tmp_path / "text.duckdb", "select 1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_a_query_is_an_interruption(warehouse: Path, number: int):
    before = signal.signal(number, signal.default_int_handler)
    try:
        for _ in range(8):  # DuckDB by itself hears three in four
            with pytest.raises(KeyboardInterrupt):
                ask_and_be_killed(warehouse, number)
    finally:
        signal.signal(number, before)
    assert ask(warehouse, "select x from t") == [(1,)]


def ask_and_be_killed(path: Path, number: int) -> None:
    with opened(path, "1GB") as connection:
        threading.Timer(0.1, os.kill, [os.getpid(), number]).start()
        connection.execute("select sum(random()) from range(20000000000)")


def test_an_error_of_ours_is_not_taken_for_an_interruption(warehouse: Path):
    with pytest.raises(RuntimeError, match="something else"), opened(warehouse, "1GB"):
        raise RuntimeError("something else")


def test_too_little_memory_is_said(warehouse: Path):
    query = "select count(*) from (select x from range(50000000) as t (x) order by hash(x))"
    with pytest.raises(PerpError, match=r"cannot be read with 20MB of memory.*choose fewer"):
        sort_without_disk(warehouse, query)


def sort_without_disk(path: Path, query: str) -> None:
    with opened(path, "20MB") as connection:
        connection.execute("set temp_directory = ''")
        connection.execute(query)
