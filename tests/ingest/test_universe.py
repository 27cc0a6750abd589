"""`perp universe refresh` on a simulated archive and exchange: what it proposes and writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ingest.cli import cli
from ingest.config import PROJECT_ROOT
from ingest.errors import PerpError, UsageError
from ingest.names import months
from ingest.partition import utc_today
from ingest.sandbox.market import epoch_ms
from ingest.sandbox.rest import RestServer
from ingest.sandbox.scenario import live_markets
from ingest.sandbox.server import ArchiveServer, status
from ingest.universe import (
    LINEAGE,
    Entry,
    History,
    Listed,
    default_symbols,
    propose,
    questions,
    read_lineage,
    read_universe,
    with_proposals,
)

YEAR = months(date(2022, 6, 1), date(2023, 5, 31))
SEED = (
    "symbol,in_universe,reason\n"
    "WAVESUSDT,true,\n"
    "BTCUSDT,true,\n"
    'GONEUSDT,true,"kept as it is, comma and all"\n'
    "ENDEDUSDT,true,\n"
    "LOSTUSDT,true,\n"
    "OUTUSDT,false,metrics archive absent\n"
    "BADUSDT,false,no monthly aggTrades\n"
)


@dataclass
class World:
    """An archive, an exchange whose clock stands at 2024-03-11 06:00, and a seed."""

    archive: ArchiveServer
    exchange: RestServer
    seed: Path

    def refresh(self, *arguments: str) -> Result:
        addresses = {
            "PERP_ARCHIVE_URL": self.archive.archive_url,
            "PERP_ARCHIVE_LISTING_URL": self.archive.listing_url,
            "PERP_API_URL": self.exchange.api_url,
        }
        words = ["universe", "refresh", "--attempts", "1", "--file", str(self.seed), *arguments]
        return CliRunner().invoke(cli, words, env=addresses, standalone_mode=False)

    def proposals(self, *arguments: str) -> dict[str, tuple[str, str]]:
        """Kind and reason of each proposal."""
        result = self.refresh("--json", *arguments)
        assert result.exception is None, result.exception
        return {p["symbol"]: (p["kind"], p["why"]) for p in json.loads(result.stdout)}


def publish(root: Path, symbol: str, bars: list[str], *, ticks: bool = True, metrics: bool = True):
    """Zips by name only: nothing of them is read."""

    def put(path: str) -> None:
        file = root / "data/futures/um" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    for month in bars:
        put(f"monthly/klines/{symbol}/1m/{symbol}-1m-{month}.zip")
        put(f"monthly/klines/{symbol}/1m/{symbol}-1m-{month}.zip.CHECKSUM")
    put(f"daily/klines/{symbol}/1m/{symbol}-1m-{bars[-1]}-17.zip")
    if ticks:
        put(f"monthly/aggTrades/{symbol}/{symbol}-aggTrades-{bars[-1]}.zip")
    if metrics:
        put(f"daily/metrics/{symbol}/{symbol}-metrics-{bars[-1]}-17.zip")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    root = tmp_path / "archive"
    for symbol in ("BTCUSDT", "WAVESUSDT", "GONEUSDT", "ENDEDUSDT", "龙虾USDT", "OUTUSDT",
                   "TSLAUSDT", "BTCUSDT_240329", "LOSTUSDTSETTLED", "OLDUSDT"):  # fmt: skip
        publish(root, symbol, YEAR)
    publish(root, "SRMUSDT", YEAR, metrics=False)
    publish(root, "BADUSDT", YEAR, ticks=False)
    publish(root, "AVAXUSDT", YEAR[:11])
    seed = tmp_path / "universe.csv"
    seed.write_text(SEED)
    now = epoch_ms(datetime(2024, 3, 11, 6))
    markets = live_markets(["BTCUSDT", "WAVESUSDT", "AVAXUSDT"])
    with (
        ArchiveServer(root, page_size=7) as archive,
        RestServer(markets, now=lambda: now) as exchange,
    ):
        yield World(archive, exchange, seed)


def test_what_is_proposed(world: World):
    assert world.proposals() == {
        "WAVESUSDT": ("delisted", "delisted 2024-02-15; it stays"),
        "ENDEDUSDT": ("delisted", "no longer listed; bars end 2023-05-17; it stays"),
        "LOSTUSDT": (
            "missing", "the archive has no bars of it; it has LOSTUSDTSETTLED; it stays",
        ),
        "OUTUSDT": (
            "review",
            "left out (metrics archive absent), but the archive has 2022-06 to 2023-05 "
            "(12 months), aggTrades and metrics now",
        ),
        "龙虾USDT": ("add", "listed 2023-09-29; archived 2022-06 to 2023-05 (12 months)"),
        "SRMUSDT": (
            "exclude", "listed 2023-09-29; delisted 2024-01-12; metrics archive absent",
        ),
        "OLDUSDT": (
            "review",
            "the exchange no longer lists it, the archive has 2022-06 to 2023-05 (12 months); "
            "add it by hand if it was a perpetual on a coin",
        ),
    }  # fmt: skip


def test_a_shorter_history_is_enough_if_you_say_so(world: World):
    assert "AVAXUSDT" not in world.proposals("--min-months", "12")
    assert world.proposals("--min-months", "11")["AVAXUSDT"][0] == "add"


def test_nothing_is_written_unless_asked(world: World):
    result = world.refresh()
    assert world.seed.read_text() == SEED
    assert "WAVESUSDT  stays, with a reason  delisted 2024-02-15; it stays" in result.stdout
    assert "-WAVESUSDT,true,\n+WAVESUSDT,true,delisted 2024-02-15\n" in result.stdout
    assert "+SRMUSDT,false,metrics archive absent\n" in result.stdout
    assert "7 contracts in universe.csv, 13 in the archive, 7 at the exchange" in result.stderr
    assert "4 lines proposed; write them with --write" in result.stderr


def test_what_is_written_keeps_every_line_its_reason_and_its_order(world: World):
    assert world.refresh("--write").return_value == 0
    lines = world.seed.read_text().splitlines()
    today = utc_today()
    assert lines == [
        "symbol,in_universe,reason",
        "WAVESUSDT,true,delisted 2024-02-15",
        "BTCUSDT,true,",
        'GONEUSDT,true,"kept as it is, comma and all"',
        "ENDEDUSDT,true,no longer listed; bars end 2023-05-17",
        "LOSTUSDT,true,",
        "OUTUSDT,false,metrics archive absent",
        "BADUSDT,false,no monthly aggTrades",
        "SRMUSDT,false,metrics archive absent",
        f"龙虾USDT,true,added {today}: listed 2023-09-29; archived 2022-06 to 2023-05 (12 months)",
    ]
    assert not list(world.seed.parent.glob("*.tmp-*"))
    again = world.refresh("--write")
    assert "0 lines proposed" in again.stderr
    assert world.seed.read_text().splitlines() == lines


def test_without_the_exchange_only_the_seed_is_looked_at(world: World):
    world.exchange.always["fapi/v1/time"] = status(451)
    result = world.refresh("--json")
    assert result.exception is None
    assert {p["symbol"] for p in json.loads(result.stdout)} == {"LOSTUSDT", "OUTUSDT"}
    assert "the exchange was not asked, so nothing new is proposed" in result.stderr
    assert "HTTP 451" in result.stderr


def test_without_the_archive_there_is_no_answer(world: World):
    world.archive.always["listing"] = status(404)
    with pytest.raises(PerpError, match=r"cannot list .* run this command again"):
        raise world.refresh().exception or AssertionError("it went on")
    assert world.seed.read_text() == SEED


@pytest.mark.parametrize("text", ["symbol,reason\nX,\n", "symbol,in_universe,reason\nX,maybe,\n"])
def test_a_file_that_is_no_universe_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "universe.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match="is not a universe"):
        read_universe(path)
    with pytest.raises(UsageError, match="is not a universe"):
        read_universe(tmp_path / "nowhere.csv")


def test_a_successor_says_whose():
    listed = {"POLUSDT": Listed("POLUSDT", "PERPETUAL", "COIN", "USDT", date(2024, 9, 13), None)}
    history = {"POLUSDT": History(tuple(YEAR), YEAR[-1], True, True)}
    entries = [Entry("MATICUSDT", True, "renamed POL")]
    assert questions(entries, listed, {"POLUSDT"}) == ["POLUSDT"]
    found = propose(
        entries, listed, {"POLUSDT", "MATICUSDT"}, history, read_lineage(),
        min_months=12, today=date(2026, 1, 1),
    )  # fmt: skip
    assert [p.kind for p in found] == ["add"]
    assert found[0].why.startswith("successor of MATICUSDT; listed 2024-09-13; archived")


def test_a_last_line_without_an_end_gets_one():
    text = with_proposals("symbol,in_universe,reason\nX,true,", [])
    assert text.endswith("X,true,\n")


def test_the_default_universe():
    entries = read_universe()
    assert len(default_symbols()) == 90
    assert {e.symbol for e in entries if not e.in_universe} == {
        "BTSUSDT", "DATAUSDT", "DOCKUSDT", "FUNUSDT", "REPUSDT", "WTCUSDT", "KEYUSDT", "MDTUSDT",
        "STPTUSDT",
    }  # fmt: skip
    assert all(e.reason for e in entries if not e.in_universe)
    assert LINEAGE.parent == PROJECT_ROOT / "dbt_project/seeds"
    assert read_lineage()["POLUSDT"] == "MATICUSDT"
