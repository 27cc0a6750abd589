"""The simulated market agrees with itself, and its archive is what the scenario says."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from datetime import datetime
from pathlib import Path

import httpx
import numpy as np
import pytest

from ingest.sandbox.archive import build_archive
from ingest.sandbox.market import Contract, Liquidations, Market, Tape, funding_rate, simulate
from ingest.sandbox.scenario import CONTRACTS, contracts, simulated
from ingest.sandbox.server import ArchiveServer
from ingest.sources.vision import VisionArchive
from ingest.universe import default_symbols

START = datetime(2024, 1, 1)
CONTRACT = Contract("BTCUSDT", 42_000, 1, 3, 4e6, thin=0.02)


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(CONTRACT, START, 4)


def test_bars_are_sound(market: Market):
    for low, high, inside in (
        (market.low_ticks, market.high_ticks, [market.open_ticks, market.close_ticks]),
        (market.mark.low, market.mark.high, [market.mark.open, market.mark.close]),
        (market.premium.low, market.premium.high, [market.premium.open, market.premium.close]),
    ):
        assert all(((low <= x) & (x <= high)).all() for x in inside)
    assert (market.low_ticks * market.lots <= market.quote).all()
    assert (market.quote <= market.high_ticks * market.lots).all()
    assert (market.buy_lots <= market.lots).all()
    silent = market.lots == 0
    assert 0.01 < silent.mean() < 0.04
    assert ((market.trades > 0) == ~silent).all()
    assert (market.open_ticks == market.close_ticks)[silent].all()


def test_open_interest_moves_by_no_more_than_what_traded(market: Market):
    five = market.lots.reshape(-1, 5).sum(axis=1) / 10**3
    assert (np.abs(np.diff(market.open_interest)) <= five[1:] + 1e-9).all()


def test_funding_follows_from_the_premium(market: Market):
    for i, time in enumerate(market.settle_times):
        until = np.searchsorted(market.minutes, time)
        window = market.premium.close[until - 480 : until]
        weights = np.arange(1, 481)
        expected = funding_rate(float((window * weights).sum() / weights.sum()), 8)
        assert market.settle_rates[i] == expected
    assert set(np.diff(market.settle_times)) == {8 * 3_600_000}
    assert 0 <= market.settle_jitter.min() <= market.settle_jitter.max() <= 17


def test_a_longer_simulation_begins_with_the_shorter(market: Market):
    shorter = simulate(CONTRACT, START, 2)
    for field in dataclasses.fields(Market):
        ours, theirs = getattr(shorter, field.name), getattr(market, field.name)
        if isinstance(ours, np.ndarray):
            assert np.array_equal(ours, theirs[: len(ours)]), field.name
    assert np.array_equal(shorter.mark.close, market.mark.close[: 2 * 1440])
    for field in dataclasses.fields(Tape):
        ours, theirs = getattr(shorter.tape, field.name), getattr(market.tape, field.name)
        assert 3 * 2 * 1400 < len(ours) < len(theirs)
        assert np.array_equal(ours, theirs[: len(ours)]), field.name
    for field in dataclasses.fields(Liquidations):
        ours = getattr(shorter.liquidations, field.name)
        theirs = getattr(market.liquidations, field.name)
        assert 2 * 50 < len(ours) < len(theirs)
        assert np.array_equal(ours, theirs[: len(ours)]), field.name


def test_liquidations_are_part_of_the_trades(market: Market):
    orders = market.liquidations
    assert (np.diff(orders.times) >= 0).all()
    at = (orders.times - market.minutes[0]) // 60_000
    assert (market.low_ticks[at] <= orders.average_ticks).all()
    assert (orders.average_ticks <= market.high_ticks[at]).all()
    worse = orders.price_ticks < orders.average_ticks
    assert (worse == orders.sold).all()
    assert (orders.last_lots >= 1).all()
    assert (orders.last_lots <= orders.lots).all()
    assert 0.2 < (orders.last_lots < orders.lots).mean() < 0.8
    for sold in (True, False):
        taken = np.zeros(len(market.minutes), np.int64)
        np.add.at(taken, at[orders.sold == sold], orders.lots[orders.sold == sold])
        traded = market.lots - market.buy_lots if sold else market.buy_lots
        assert (taken <= traded).all()


def test_liquidations_come_when_the_price_moves(market: Market):
    orders = market.liquidations
    at = (orders.times - market.minutes[0]) // 60_000
    counts = np.bincount(at, minlength=len(market.minutes))
    assert 50 * 4 < counts.sum() < 400 * 4
    moves = np.log(market.close_ticks / market.open_ticks)
    large = np.abs(moves) > np.quantile(np.abs(moves), 0.99)
    assert counts[large].mean() > 20 * counts[~large].mean()
    assert orders.sold[moves[at] < 0].mean() > 0.8 > 0.2 > orders.sold[moves[at] > 0].mean()
    values = orders.average_ticks * orders.lots
    assert np.quantile(values, 0.99) > 20 * np.quantile(values, 0.5)
    assert len(np.unique(orders.times // 1000)) < len(orders.times), "several in one second"


@pytest.mark.deep
def test_the_archive_is_deterministic_and_reused(archive: Path, tmp_path: Path):
    assert build_archive(archive).reused
    build_archive(tmp_path / "again")

    def digests(root: Path) -> dict[str, str]:
        return {
            p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in root.rglob("*")
            if p.is_file()
        }

    assert digests(archive) == digests(tmp_path / "again")


KEYS = ("a", "a/", "a/b", "a/b/c", "a/bc", "a/c/d/e", "ab", "b/a/x", "b/a/y", "b/ä", "c")
NAMES = [key for key in KEYS if not key.endswith("/") and key not in ("a", "a/b")]


@pytest.mark.parametrize("delimiter", ["", "/"])
def test_a_listing_page_is_what_the_rules_say(tmp_path: Path, delimiter: str):
    """Every prefix and marker, beside keys gone through one by one."""
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    server = ArchiveServer(tmp_path)

    def entries(prefix: str, marker: str) -> list[str]:
        found = []
        for name in sorted(NAMES, key=str.encode):
            end = name.find(delimiter, len(prefix)) if delimiter else -1
            entry = name if end < 0 else name[: end + 1]
            is_behind = entry.encode() > marker.encode() and not (
                end >= 0 and marker.startswith(entry)
            )
            if name.startswith(prefix) and is_behind and entry not in found:
                found.append(entry)
        return found

    for prefix in ("", *KEYS, "zzz"):
        for marker in ("", *KEYS, "zzz"):
            expected = entries(prefix, marker)
            for most in (1, 2, 100):
                page = server.listing(prefix, delimiter, marker, most).decode()
                found = re.findall(r"<(?:Key|CommonPrefixes><Prefix)>([^<]+)<", page)
                case = prefix, marker, most
                assert sorted(found, key=str.encode) == expected[:most], case
                truncated = "<IsTruncated>true<" in page
                assert truncated == (len(expected) > most), case
    server._http.server_close()


def test_an_exchange_of_many_contracts_begins_with_those_of_the_scenario(tmp_path: Path):
    many = contracts(90)
    assert many[: len(CONTRACTS)] == CONTRACTS
    assert len({c.symbol for c in many}) == 90
    assert {c.symbol for c in many[len(CONTRACTS) :]} <= set(default_symbols())
    assert many == contracts(92)[:90]
    with pytest.raises(ValueError, match="contracts, not 1000"):
        contracts(1000)

    (plain,) = many[-1:]
    root = tmp_path / "archive"
    build_archive(root, contracts=[plain], workers=1)
    keys = [path.relative_to(root).as_posix() for path in root.rglob("*.zip")]
    assert all(f"/{plain.symbol}/" in key for key in keys)
    assert f"data/futures/um/monthly/klines/{plain.symbol}/1m/{plain.symbol}-1m-2024-01.zip" in keys
    assert build_archive(root, contracts=[plain]).reused
    market = simulated(plain)
    ticks = market.close_ticks
    assert 1_000 < ticks.min() < ticks.max() < 10_000_000, "a tick is small, and more than nothing"
    assert len(np.unique(ticks)) > 1_000


def test_listing_pages_join_to_the_whole(archive: Path):
    """Small pages, with and without a delimiter, in the order of the keys' bytes."""
    import asyncio

    with ArchiveServer(archive, page_size=7) as server:
        prefix = "data/futures/um/daily/klines/BTCUSDT/1m/"

        async def ask() -> tuple[list[str], list[str]]:
            async with VisionArchive(server.archive_url, server.listing_url) as client:
                files = await client.files(prefix, "BTCUSDT-1m-", "2024-03")
                folders = await client.folders("data/futures/um/daily/klines/")
                return [f.period for f in files], folders

        periods, folders = asyncio.run(ask())
        assert periods == [f"2024-03-{d:02d}" for d in range(1, 11)]
        assert {"BTCUSDT", "BTCUSDT_240329", "ICPUSDTSETTLED", "币安人生USDT"} <= set(folders)
        assert folders == sorted(folders, key=str.encode)
        plain = httpx.get(server.listing_url, params={"prefix": prefix}).text
        assert "<IsTruncated>true</IsTruncated>" in plain
        assert "NextMarker" not in plain, "only a delimiter brings it"


def test_files_come_with_etag_ranges_and_404(archive: Path):
    key = "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2024-01.zip"
    with ArchiveServer(archive) as server:
        url = f"{server.archive_url}/{key}"
        whole = httpx.get(url)
        etag = whole.headers["ETag"]
        assert etag == f'"{hashlib.md5(whole.content).hexdigest()}"'
        rest = httpx.get(url, headers={"Range": "bytes=100-", "If-Range": etag})
        assert (rest.status_code, rest.content) == (206, whole.content[100:])
        changed = httpx.get(url, headers={"Range": "bytes=100-", "If-Range": '"other"'})
        assert (changed.status_code, changed.content) == (200, whole.content)
        assert httpx.get(f"{server.archive_url}/nothing").status_code == 404
        assert httpx.get(f"{server.archive_url}/%2e%2e/archive.json").status_code == 404
