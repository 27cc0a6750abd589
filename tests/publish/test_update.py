"""``perp update`` against the simulated exchange.

A build by dbt takes minutes. Here tables made by hand stand in for what it leaves, but for the last
test, which takes up the warehouse that dbt has built from the sandbox.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingest import cli_publish
from ingest.builds import reason_to_build
from ingest.cli import cli
from ingest.config import Config
from ingest.errors import UsageError
from ingest.lake import Lake, LandingRecord
from ingest.run import Options, ingest_archive
from ingest.sandbox import rest
from ingest.sandbox.market import epoch_ms
from ingest.sandbox.rest import RestServer
from ingest.sandbox.scenario import LIVE_START, live_markets
from ingest.sandbox.server import ArchiveServer
from ingest.sources.downloads import Retry
from ingest.update import Step, Work, plan_archive, update
from tests.conftest import Warehouse as Sandbox
from tests.ingest.conftest import Archive, hour_bars
from tests.publish.conftest import Warehouse

TODAY = date(2024, 3, 11)
NOW = datetime(2024, 3, 11, 6, 40)
DATASETS = ["klines_1h", "funding_rate", "open_interest_5m", "premium_index"]
QUICK = Options(connections=4, workers=1, retry=Retry(attempts=2, base_seconds=0.01))


@dataclass
class Exchange:
    """Archive and API of a simulated exchange, with a lake and a warehouse to update."""

    archive: Archive
    api: RestServer
    warehouse: Warehouse
    now: datetime = NOW
    built: int = 0
    outcome: dict[str, Any] | None = None

    def build(self, config: Config) -> int:
        """Stands in for dbt: tables of the next number, and the row of the build."""
        self.built += 1
        self.warehouse.now = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=1)
        self.warehouse.build(**(self.outcome or {}))
        return 1 if self.outcome else 0

    def update(self, **arguments: Any) -> dict[str, Step]:
        """Run an update; returns its steps."""
        self.archive.server.requests.clear()
        self.api.requests.clear()
        steps = update(
            self.warehouse.config,
            **{"symbols": ["BTCUSDT"], "datasets": DATASETS, "options": QUICK, "today": TODAY}
            | arguments,
            build=self.build,
        )  # fmt: skip
        return {step.name: step for step in steps}

    def failed(self, **arguments: Any) -> set[str]:
        """Names of the steps of an update that fail."""
        return {name for name, step in self.update(**arguments).items() if not step.ok}

    def lines(self) -> int:
        """Records in the landing log."""
        return sum(p.read_bytes().count(b"\n") for p in self.lake.log_folder.glob("*.jsonl"))

    @property
    def lake(self) -> Lake:
        return Lake(self.warehouse.config.lake)


@contextmanager
def serving(folder: Path) -> Iterator[Exchange]:
    """Serve the archive of a folder, and an API that knows the eleventh of March, 06:40."""
    with (
        ArchiveServer(folder / "archive") as server,
        RestServer(live_markets(["BTCUSDT"]), now=lambda: epoch_ms(made.now)) as api,
    ):
        config = Config(
            folder / "lake", folder / "w.duckdb", server.archive_url, server.listing_url,
            api_url=api.api_url, published=folder / "published",
        )  # fmt: skip
        made = Exchange(Archive(folder / "archive", server, config), api, Warehouse(config))
        yield made


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``behind``: ten days in the archive, five of them landed. ``updated``: that, after a run."""
    root = tmp_path_factory.mktemp("states")
    (root / "behind/archive").mkdir(parents=True)
    with serving(root / "behind") as made:
        for day in range(1, 11):
            made.archive.put("BTCUSDT", f"2024-03-{day:02d}", hour_bars(date(2024, 3, day)))
        start, end = date(2024, 3, 1), date(2024, 3, 5)
        config = made.warehouse.config
        ingest_archive(config, ["klines_1h"], ["BTCUSDT"], start, end, QUICK)
    shutil.copytree(root / "behind", root / "updated")
    with serving(root / "updated") as made:
        assert made.failed() == set()
    return root


@pytest.fixture
def behind(states: Path, tmp_path: Path) -> Iterator[Exchange]:
    """Five days to land from the archive, six hours from the API; no warehouse."""
    shutil.copytree(states / "behind", tmp_path / "e")
    with serving(tmp_path / "e") as made:
        yield made


@pytest.fixture
def exchange(states: Path, tmp_path: Path) -> Iterator[Exchange]:
    """Everything is up to date, built and published as number 1."""
    shutil.copytree(states / "updated", tmp_path / "e", symlinks=True)
    with serving(tmp_path / "e") as made:
        made.built = made.warehouse.number = 1
        yield made


def test_it_brings_everything_up_to_now(exchange: Exchange):
    hours = exchange.lake.state("vision")["klines_1h", "BTCUSDT", "2024-03"]
    assert (hours.rows_out, hours.last_day) == (240, "2024-03-10")
    assert exchange.lake.state("api")["klines_1h", "BTCUSDT", "2024-03"].rows_out == 6
    assert exchange.warehouse.published()[1] == 1


def test_a_second_run_does_nothing(exchange: Exchange):
    lines = exchange.lines()
    steps = exchange.update()
    assert exchange.lines() == lines
    assert {r.path for r in exchange.api.requests} == {"fapi/v1/time", "fapi/v1/exchangeInfo"}
    assert not any(r.path.endswith(".zip") for r in exchange.archive.server.requests)
    assert exchange.built == 1
    assert "nothing has landed" in steps["build"].text
    assert "nothing to publish" in steps["publish"].text
    assert all(step.ok for step in steps.values())


def test_the_next_hour_brings_the_next_hour(exchange: Exchange):
    exchange.now += timedelta(minutes=25)  # 07:05
    exchange.update()
    asked = Counter(r.path.rsplit("/", 1)[-1] for r in exchange.api.requests)
    assert asked == Counter(
        ["time", "exchangeInfo", "klines", "fundingRate", "openInterestHist", "premiumIndex"]
    )
    assert exchange.lake.state("api")["klines_1h", "BTCUSDT", "2024-03"].rows_out == 7
    five_minutes = exchange.lake.state("api")["open_interest_5m", "BTCUSDT", "2024-03"]
    assert five_minutes.last_time == "2024-03-11T07:00:00", "the label of the hour's end"
    assert exchange.built == exchange.warehouse.published()[1] == 2

    lines = exchange.lines()
    exchange.now += timedelta(minutes=5)  # what may still be late is asked for, and brings nothing
    assert exchange.failed() == set()
    assert exchange.lines() == lines
    assert exchange.built == 2


def test_a_file_that_upstream_replaces_is_landed_and_built(exchange: Exchange):
    exchange.archive.put("BTCUSDT", "2024-03-07", hour_bars(date(2024, 3, 7), close=10.5))
    exchange.update()
    assert exchange.built == 2


def test_an_api_that_is_down_costs_only_its_hours(behind: Exchange):
    behind.api.always["fapi/v1/time"] = rest.unavailable()
    steps = behind.update()
    assert [name for name, step in steps.items() if not step.ok] == ["api"]
    assert "PERP_API_URL" in steps["api"].text
    assert behind.lake.state("vision")["klines_1h", "BTCUSDT", "2024-03"].rows_out == 240
    assert behind.warehouse.published()[1] == 1
    behind.api.always.clear()
    assert behind.failed() == set()
    assert behind.warehouse.published()[1] == 2


def test_an_archive_that_is_down_costs_only_its_files(behind: Exchange):
    nowhere = replace(behind.warehouse.config, listing_url="http://127.0.0.1:9")
    behind.warehouse.config = nowhere
    assert behind.failed() == {"archive"}
    assert behind.lake.state("api")["klines_1h", "BTCUSDT", "2024-03"].rows_out == 24 * 5 + 6
    assert behind.warehouse.published()[1] == 1


def test_a_build_that_fails_is_not_published_and_done_again(exchange: Exchange):
    exchange.now += timedelta(hours=1)
    exchange.outcome = {"n_errors": 3}
    steps = exchange.update()
    assert [name for name, step in steps.items() if not step.ok] == ["build", "publish"]
    assert "3 errors" in steps["publish"].text
    assert exchange.warehouse.published()[1] == 1
    exchange.outcome = None
    assert exchange.failed() == set(), "nothing has landed, but the build was not clean"
    assert exchange.built == exchange.warehouse.published()[1] == 3


def test_without_publishing(behind: Exchange):
    assert list(behind.update(publishing=False)) == ["archive", "api", "build"]
    assert not behind.warehouse.current.exists()


def test_a_selection_that_was_built_is_followed_by_a_whole_build(exchange: Exchange):
    exchange.warehouse.now = datetime.now(UTC).replace(tzinfo=None)
    exchange.warehouse.log("run", is_whole=False, n_models=1)
    assert "left out" in str(reason_to_build(exchange.warehouse.config))
    exchange.update()
    assert exchange.built == 2


def test_what_makes_no_sense_is_refused(exchange: Exchange, tmp_path: Path):
    with pytest.raises(UsageError, match="no contract BTCUSD; did you mean BTCUSDT"):
        exchange.update(symbols=["BTCUSD"])
    exchange.warehouse.config = replace(exchange.warehouse.config, lake=tmp_path / "new")
    with pytest.raises(UsageError, match="begin with: perp ingest archive"):
        exchange.update()
    with pytest.raises(UsageError, match="no dataset 'klines'"):
        cli_publish._datasets(["klines"])


def test_one_update_at_a_time(exchange: Exchange):
    from ingest.update import _alone

    with _alone(exchange.lake), pytest.raises(UsageError, match="another perp update"):
        exchange.update()


def test_the_command_says_how_each_step_went(monkeypatch, capsys, tmp_path: Path):
    steps = [Step("archive", "3 partitions landed", True, 61.0), Step("api", "no", False, 2.0)]
    asked = {}

    def done(config: Config, **arguments: Any) -> list[Step]:
        asked.update(arguments)
        return steps

    monkeypatch.setattr(cli_publish, "bring_up_to_date", done)
    command = ["update", "--symbols", "btcusdt,ETHUSDT", "--no-publish", "--keep", "5"]
    assert cli(command, standalone_mode=False) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        "archive  01:01  3 partitions landed",
        "api      00:02  FAILED: no",
        "update   01:03  failed: api; run it again",
    ]
    assert asked["symbols"] == ["BTCUSDT", "ETHUSDT"]
    assert (asked["publishing"], asked["keep"], asked["datasets"]) == (False, 5, None)
    steps.pop()
    assert cli(["update"], standalone_mode=False) == 0


def test_what_dbt_has_built_is_taken_up_and_published(sandbox: Sandbox, tmp_path: Path):
    """The sandbox stands where its exchange does: nothing to land, nothing to build."""
    shutil.copytree(sandbox.lake, tmp_path / "lake")
    with (
        ArchiveServer(sandbox.exchange / "archive") as server,
        RestServer(live_markets(["BTCUSDT"]), now=lambda: epoch_ms(LIVE_START)) as api,
    ):
        config = Config(
            tmp_path / "lake", sandbox.path, server.archive_url, server.listing_url,
            api_url=api.api_url, published=tmp_path / "published",
        )  # fmt: skip
        arguments = {"symbols": ["BTCUSDT"], "datasets": ["klines_1h"], "today": TODAY}
        first, again = (
            {step.name: step for step in update(config, options=QUICK, **arguments)}
            for _ in range(2)
        )
    assert [step.text for step in first.values() if not step.ok] == []
    assert "nothing has landed" in first["build"].text
    assert "nothing to publish" in again["publish"].text
    folder = config.published / "current"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["build"]["is_whole"]
    settings = {"enable_external_access": False}
    with closing(duckdb.connect(str(folder / "warehouse.duckdb"), True, settings)) as connection:
        built = sandbox.read("select * from final_dataset order by symbol, hour_ts")
        assert connection.execute("from final_dataset").df().equals(built)
        assert connection.execute("select count(*) from build_log").fetchone() == (1,)
        names = {name for (name,) in connection.execute("show tables").fetchall()}
    assert {"coverage", "gaps", "dim_symbols", "hourly_bars", "int_liquidations"} <= names
    assert not [n for n in names if n.startswith(("stg_", "int_")) and n != "int_liquidations"]
    files = f"{folder.resolve()}/parquet/final_dataset/*/*.parquet"
    assert duckdb.execute(f"select count(*) from '{files}'").fetchone() == (len(built),)


# ------------------------------------------------------------------------------ where to go on from
def record(dataset: str, symbol: str, month: str, **values: Any) -> LandingRecord:
    return LandingRecord("vision", dataset, symbol, month, **{"status": "landed"} | values)


def plan(*records: LandingRecord, datasets=("klines_1h",), symbols=("A",)) -> list[Work]:
    return plan_archive({r.key: r for r in records}, datasets, symbols)


def months(*names: str, dataset: str = "klines_1h", symbol: str = "A") -> list[LandingRecord]:
    return [record(dataset, symbol, name, first_day=f"{name}-01") for name in names]


def test_a_series_goes_on_from_the_month_before_its_last():
    known = months("2024-01", "2024-02", "2024-03")
    assert plan(*known) == [Work(date(2024, 2, 1), ("klines_1h",), ("A",))]
    assert plan(*months("2023-12", "2024-01"))[0].start == date(2023, 12, 1)
    assert plan() == []


def test_a_series_begins_no_earlier_than_it_was_asked_for():
    assert plan(record("klines_1h", "A", "2024-03", first_day="2024-03-05"))[0].start == date(
        2024, 3, 5
    )


def test_a_month_that_was_left_out_or_failed_is_gone_back_to():
    assert plan(*months("2024-01", "2024-02", "2024-05"))[0].start == date(2024, 1, 1)
    failed = replace(months("2024-03")[0], status="failed")
    known = [*months("2024-01", "2024-02"), failed, *months("2024-04", "2024-05")]
    assert plan(*known)[0].start == date(2024, 2, 1)


def test_what_upstream_lacks_is_known_too():
    known = months("2023-05", "2023-06")
    known += [record("klines_1h", "A", "2023-07", status="absent_upstream")]
    assert plan(*known)[0].start == date(2023, 6, 1)


def test_series_that_go_on_from_the_same_day_are_listed_together():
    known = [
        *months("2024-01", "2024-02", "2024-03", symbol="A"),
        *months("2024-01", "2024-02", "2024-03", symbol="B"),
        *months("2023-07", "2023-08", dataset="metrics", symbol="A"),
    ]
    assert plan(*known, datasets=("klines_1h", "metrics"), symbols=("A", "B", "C")) == [
        Work(date(2023, 7, 1), ("metrics",), ("A",)),
        Work(date(2024, 2, 1), ("klines_1h",), ("A", "B", "C")),
        Work(date(2024, 2, 1), ("metrics",), ("B", "C")),
    ], "a series without any record begins with the others' last months"
