"""The simulated vendor: its files follow from the markets, by day of arrival."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta

import httpx
import pytest

from ingest.config import Config
from ingest.lake import Lake
from ingest.run import Options
from ingest.sandbox.market import Market, epoch_ms, simulate
from ingest.sandbox.scenario import CONTRACTS, START, midnight
from ingest.sandbox.tardis import TardisServer
from ingest.tardis import ingest_tardis

DAYS = [START + timedelta(days=n) for n in range(3)]
LISTED = datetime(2024, 1, 2, 8, 30)
OUTAGE = (datetime(2024, 1, 2, 5, 10), datetime(2024, 1, 2, 7, 25))


@pytest.fixture(scope="module")
def markets() -> dict[str, Market]:
    btc, eth = CONTRACTS[:2]
    late = replace(CONTRACTS[3], listed=LISTED)
    return {
        c.symbol: simulate(c, midnight(START), len(DAYS), outages=(OUTAGE,))
        for c in (btc, eth, late)
    }


@pytest.fixture(scope="module")
def server(markets: dict[str, Market]) -> Iterator[TardisServer]:
    with TardisServer(markets, key="sesame", outages=(OUTAGE,)) as running:
        yield running


def get(server: TardisServer, dataset: str, day: date, symbol: str, **headers: str):
    return httpx.get(
        f"{server.url}/v1/binance-futures/{dataset}/{day:%Y/%m/%d}/{symbol}.csv.gz",
        headers={"Authorization": "Bearer sesame", **headers},
    )


def rows(server: TardisServer, dataset: str, day: date, symbol: str) -> list[dict[str, str]]:
    reply = get(server, dataset, day, symbol)
    assert reply.status_code == 200
    return list(csv.DictReader(io.StringIO(gzip.decompress(reply.content).decode())))


def test_liquidations_are_the_latest_order_of_each_second(server: TardisServer, markets):
    """All files together hold what the stream pushes, each order once."""
    end = epoch_ms(midnight(DAYS[-1] + timedelta(days=1))) - 2000  # later ones arrive another day
    for symbol, market in markets.items():
        orders = market.liquidations
        latest = {time // 1000: i for i, time in enumerate(orders.times.tolist())}
        unit = 10**market.contract.lot_decimals
        expected = [
            (int(orders.times[i]), "sell" if orders.sold[i] else "buy", int(orders.lots[i]))
            for i in latest.values()
        ]
        found = []
        for day in DAYS if symbol != "SOLUSDT" else DAYS[1:]:
            start = 1000 * epoch_ms(midnight(day))
            for row in rows(server, "liquidations", day, symbol):
                sent, arrived = int(row["timestamp"]), int(row["local_timestamp"])
                assert (row["symbol"], row["id"]) == (symbol, "")
                assert start <= arrived < start + 86_400_000_000
                assert 10_000 <= arrived - (sent // 1_000_000 + 1) * 1_000_000 < 900_000
                found.append((sent // 1000, row["side"], round(float(row["amount"]) * unit)))
        assert sorted(o for o in found if o[0] < end) == [o for o in expected if o[0] < end]
        assert len(found) > 20


def test_some_orders_arrive_in_the_file_of_the_next_day(server: TardisServer, markets):
    late = 0
    for day in DAYS[1:]:
        start = 1000 * epoch_ms(midnight(day))
        for dataset in ("liquidations", "derivative_ticker"):
            found = rows(server, dataset, day, "PERPETUALS")
            arrivals = [int(r["local_timestamp"]) for r in found]
            assert arrivals == sorted(arrivals)
            assert all(a >= start for a in arrivals)
            late += sum(int(r["timestamp"]) <= start for r in found)
    assert late > 2


def test_tickers_tell_what_the_market_knew(server: TardisServer, markets):
    market = markets["BTCUSDT"]
    rates = dict(zip(market.settle_times.tolist(), market.settle_rates.tolist(), strict=True))
    polls = dict(zip(market.sample_times.tolist(), market.open_interest.tolist(), strict=True))
    settled = 0
    for day in DAYS:
        first, *others = rows(server, "derivative_ticker", day, "BTCUSDT")
        known = {name for name, cell in first.items() if cell}
        assert known == {"exchange", "symbol", "timestamp", "local_timestamp", "last_price"}
        start = epoch_ms(midnight(day))
        for row in others:
            time = int(row["timestamp"]) // 1000
            minute = (time - int(market.minutes[0])) // 60_000 - 1
            assert float(row["last_price"]) == market.close_ticks[minute] / 10
            assert float(row["mark_price"]) == market.mark.close[minute]
            assert float(row["index_price"]) == market.index.close[minute]
            assert row["predicted_funding_rate"] == ""
            following = int(row["funding_timestamp"]) // 1000
            assert time <= following < time + 8 * 3_600_000
            if time == following:
                assert float(row["funding_rate"]) == rates[time]
                settled += 1
            polled = time - time % 300_000
            is_known = polled >= start and polled in polls
            assert row["open_interest"] == (f"{polls[polled]:.3f}" if is_known else "")
    assert settled == 6, "those of midnight come first in their file, and tell the price only"


def test_nothing_is_pushed_in_an_outage(server: TardisServer):
    start, end = (1000 * epoch_ms(moment) for moment in OUTAGE)
    found = rows(server, "derivative_ticker", DAYS[1], "PERPETUALS")
    times = [int(r["local_timestamp"]) for r in found]
    assert not [t for t in times if start + 61_000_000 < t < end]
    assert len(times) > 2000


def test_days_are_absent_empty_locked_or_known(server: TardisServer):
    def status(day: date, symbol: str = "BTCUSDT", **headers: str) -> int:
        return get(server, "liquidations", day, symbol, **headers).status_code

    assert status(DAYS[0], "SOLUSDT") == 404, "before its listing"
    assert status(START - timedelta(days=1)) == 404
    assert status(DAYS[-1] + timedelta(days=2)) == 404
    assert status(DAYS[0], "NEWUSDT") == 404
    assert status(DAYS[1], Authorization="Bearer other") == 401
    assert status(DAYS[0], Authorization="Bearer other") == 200, "first days are free"
    first = get(server, "liquidations", DAYS[0], "BTCUSDT")
    assert first.content == get(server, "liquidations", DAYS[0], "BTCUSDT").content
    assert status(DAYS[0], **{"If-None-Match": f'"x", {first.headers["ETag"]}'}) == 304
    rest = get(server, "liquidations", DAYS[0], "BTCUSDT", Range="bytes=10-")
    assert (rest.status_code, rest.content) == (206, first.content[10:])


def test_a_day_on_which_nothing_arrived_is_an_empty_gzip():
    gone = replace(
        CONTRACTS[0], last_trade=datetime(2024, 1, 1, 12), last_bar=datetime(2024, 1, 1, 12)
    )
    with TardisServer({"BTCUSDT": simulate(gone, midnight(START), 3)}) as server:
        for dataset in ("liquidations", "derivative_ticker"):
            assert rows(server, dataset, DAYS[0], "BTCUSDT")
            assert gzip.decompress(get(server, dataset, DAYS[2], "BTCUSDT").content) == b""


def test_all_of_it_lands(server: TardisServer, markets, tmp_path, monkeypatch):
    monkeypatch.setenv("TARDIS_API_KEY", "sesame")
    nowhere = "http://127.0.0.1:9"
    config = Config(
        tmp_path / "lake", tmp_path / "w.duckdb", nowhere, nowhere, tardis_url=server.url
    )
    for dataset, symbols in (("liquidations", None), ("derivative_ticker", list(markets))):
        summary = ingest_tardis(
            config, path=None, datasets=[dataset], symbols=symbols,
            first=DAYS[0], last=DAYS[-1], options=Options(),
        )  # fmt: skip
        assert summary.ok, summary.problems
    state = Lake(config.lake).state("tardis")
    whole = ["2024-01-01T00:00:00", "2024-01-04T00:00:00"]
    listed = ["2024-01-02T00:00:00", "2024-01-04T00:00:00"]
    assert state["liquidations", "_market", "2024-01"].covered == [whole]
    assert state["derivative_ticker", "BTCUSDT", "2024-01"].covered == [whole]
    assert state["derivative_ticker", "SOLUSDT", "2024-01"].covered == [listed]
    assert state["liquidations", "_market", "2024-01"].duplicates_dropped == 0
