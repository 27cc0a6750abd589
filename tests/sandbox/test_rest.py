"""The simulated API agrees with the archive's market, and has the real one's manners and limits."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import httpx
import numpy as np
import pytest

from ingest.sandbox import rest, server
from ingest.sandbox.bars import klines, prices
from ingest.sandbox.market import Liquidations, Market, Tape, alive, epoch_ms, within
from ingest.sandbox.rest import Limits, RestServer
from ingest.sandbox.scenario import CONTRACTS, OUTAGE, live_market, live_markets, simulated
from tests.mirror import require_real_data

SYMBOLS = ("BTCUSDT", "AVAXUSDT", "1000PEPEUSDT", "TIAUSDT", "WAVESUSDT", "币安人生USDT")
MINUTE = 60_000
HOUR = 60 * MINUTE
NOW = epoch_ms(datetime(2024, 3, 11, 9, 30, 20))
KLINES = ("klines", "markPriceKlines", "indexPriceKlines", "premiumIndexKlines")
STATISTICS = (
    "openInterestHist",
    "topLongShortPositionRatio",
    "topLongShortAccountRatio",
    "globalLongShortAccountRatio",
    "takerlongshortRatio",
)
FOREVER = 1e10  # seconds: a window that no test outlives


class Exchange:
    """A server whose clock the test sets, and a client of it."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.now = NOW
        self.server = RestServer(
            live_markets(SYMBOLS), now=lambda: self.now, limits=limits or Limits()
        )
        self.client = httpx.Client(base_url=self.server.api_url)

    def ask(self, path: str, **query: object) -> httpx.Response:
        root = "futures/data" if path in STATISTICS else "fapi/v1"
        return self.client.get(f"/{root}/{path}", params=query)

    def get(self, path: str, **query: object) -> Any:
        response = self.ask(path, **query)
        assert response.status_code == 200, response.text
        return response.json()

    def error(self, path: str, **query: object) -> int:
        """Code of an error."""
        response = self.ask(path, **query)
        assert response.status_code == 400
        body = response.json()
        assert set(body) == {"code", "msg"}
        return body["code"]


@pytest.fixture
def start() -> Iterator[Callable[..., Exchange]]:
    started: list[Exchange] = []

    def start(**limits: Any) -> Exchange:
        exchange = Exchange(Limits(**limits))
        exchange.server.__enter__()
        started.append(exchange)
        return exchange

    yield start
    for exchange in started:
        exchange.client.close()
        exchange.server.__exit__(None, None, None)


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    exchange = Exchange(Limits(weight=1 << 40, funding=1 << 40, data=1 << 40))
    with exchange.server, exchange.client:
        yield exchange


@pytest.fixture
def at(exchange: Exchange) -> Iterator[Callable[[str], Exchange]]:
    """The exchange at another time."""

    def at(moment: str) -> Exchange:
        exchange.now = epoch_ms(datetime.fromisoformat(moment))
        return exchange

    yield at
    exchange.now = NOW


def ms(moment: str) -> int:
    return epoch_ms(datetime.fromisoformat(moment))


# --------------------------------------------------------------------- agreement with the archive
def test_the_live_market_begins_as_the_archives():
    contract = next(c for c in CONTRACTS if c.symbol == "AVAXUSDT")
    written, live = simulated(contract), live_market("AVAXUSDT")
    assert live is live_market("AVAXUSDT"), "simulated once"
    assert len(live.minutes) > len(written.minutes)

    def check(ours: object, theirs: object) -> None:
        for field in dataclasses.fields(ours):  # type: ignore[arg-type]
            mine, other = getattr(ours, field.name), getattr(theirs, field.name)
            if isinstance(mine, np.ndarray):
                assert np.array_equal(mine, other[: len(mine)]), field.name
            elif isinstance(mine, (Tape, Liquidations)):
                check(mine, other)

    check(written, live)


@pytest.mark.parametrize("path", KLINES)
@pytest.mark.parametrize(("interval", "step"), [("1m", 1), ("1h", 60)])
@pytest.mark.parametrize(
    ("symbol", "start"),
    [
        ("BTCUSDT", "2024-03-10 20:00"),  # over the archive's end
        ("TIAUSDT", "2024-02-13 00:00"),  # listed at 08:30
        ("WAVESUSDT", "2024-02-15 08:00"),  # ends on the 18th
        ("币安人生USDT", "2024-02-20 05:00"),  # the outage
    ],
)
def test_bars_are_those_of_the_archive(
    exchange: Exchange, path: str, interval: str, step: int, symbol: str, start: str
):
    market = live_market(symbol)
    name = "pair" if path == "indexPriceKlines" else "symbol"
    rows = exchange.get(
        path, **{name: symbol}, interval=interval, startTime=ms(start), endTime=NOW, limit=600
    )
    mask = market.has_bar & (market.minutes >= ms(start)) & (market.minutes < NOW // HOUR * HOUR)
    if path == "klines":
        table = klines(market, mask, step)
    else:
        series = {"mark": market.mark, "inde": market.index, "prem": market.premium}[path[:4]]
        if interval == "1m" and path != "premiumIndexKlines":
            mask &= ~within(market.minutes, OUTAGE)
        table = prices(market, series, mask, step)
    expected = [list(row) for row in zip(*table.slice(0, 600).to_pydict().values(), strict=True)]
    assert len(expected) > 6
    assert [[float(x) for x in row] for row in rows[: len(expected)]] == expected
    texts = {i for row in rows for i, x in enumerate(row) if isinstance(x, str)}
    assert texts == {1, 2, 3, 4, 5, 7, 9, 10, 11}


def test_numbers_are_text_of_the_contracts_decimals(exchange: Exchange):
    row = exchange.get("klines", symbol="BTCUSDT", interval="1m", limit=1)[0]
    decimals = [len(x.split(".")[1]) if "." in x else 0 for x in row if isinstance(x, str)]
    assert decimals == [1, 1, 1, 1, 3, 4, 3, 4, 0]
    row = exchange.get("markPriceKlines", symbol="BTCUSDT", interval="1m", limit=1)[0]
    assert [len(x.split(".")[1]) for x in row[1:5]] == [8] * 4


@pytest.mark.parametrize("symbol", ["BTCUSDT", "1000PEPEUSDT", "TIAUSDT"])
def test_statistics_are_the_metrics_of_the_same_instant(exchange: Exchange, symbol: str):
    market = live_market(symbol)
    start, end = ms("2024-03-10 00:00"), ms("2024-03-11 09:00")
    samples = np.flatnonzero((market.sample_times >= start) & (market.sample_times <= end))
    for path, column, values in (
        ("openInterestHist", "sumOpenInterest", market.open_interest),
        ("openInterestHist", "sumOpenInterestValue", market.open_interest_value),
        ("topLongShortAccountRatio", "longShortRatio", market.ratios[:, 0]),
        ("topLongShortPositionRatio", "longShortRatio", market.ratios[:, 1]),
        ("globalLongShortAccountRatio", "longShortRatio", market.ratios[:, 2]),
        ("takerlongshortRatio", "buySellRatio", market.taker_ratio),
    ):
        query = {"symbol": symbol, "period": "5m", "limit": 500}
        rows = exchange.get(path, **query, startTime=start, endTime=end)
        assert [r["timestamp"] for r in rows] == market.sample_times[samples].tolist()
        assert [r[column] for r in rows] == [f"{x:.8f}" for x in values[samples]], column
    assert {"CMCCirculatingSupply", "symbol"} < set(exchange.get("openInterestHist", **query)[0])
    taker = exchange.get("takerlongshortRatio", **query)[-1]
    minutes = market.minutes // (5 * MINUTE) == taker["timestamp"] // (5 * MINUTE) - 1
    lot = 10**market.contract.lot_decimals
    assert float(taker["buyVol"]) == market.buy_lots[minutes].sum() / lot
    assert float(taker["buyVol"]) + float(taker["sellVol"]) == pytest.approx(
        market.lots[minutes].sum() / lot
    )


def test_longer_periods_sample_the_shorter(exchange: Exchange):
    query = {"symbol": "BTCUSDT", "limit": 500, "endTime": ms("2024-03-11 08:00")}
    for path in STATISTICS:
        five = {r["timestamp"]: r for r in exchange.get(path, period="5m", **query)}
        hours = exchange.get(path, period="1h", **query)
        assert np.diff([r["timestamp"] for r in hours]).tolist() == [HOUR] * 499
        last = hours[-1]
        if path == "takerlongshortRatio":
            parts = [five[last["timestamp"] - i * 5 * MINUTE] for i in range(12)]
            assert float(last["buyVol"]) == pytest.approx(sum(float(p["buyVol"]) for p in parts))
        else:
            assert last == five[last["timestamp"]]


def test_funding_rates_have_jitter_and_fields_that_came_late(exchange: Exchange):
    market = live_market("AVAXUSDT")
    rows = exchange.get("fundingRate", symbol="AVAXUSDT", startTime=0, limit=1000)
    settled = market.settle_times <= NOW
    stamped = (market.settle_times + market.settle_jitter)[settled]
    assert [r["fundingTime"] for r in rows] == stamped.tolist()
    assert [r["fundingRate"] for r in rows] == [f"{x:.8f}" for x in market.settle_rates[settled]]
    assert any(t % 1000 for t in stamped.tolist())
    for row in rows:
        assert (row["markPrice"] == "") == (row["fundingTime"] < ms("2024-02-01"))
        assert ("rateType" in row) == (row["fundingTime"] >= ms("2024-03-09"))
    last = rows[-1]
    minute = np.flatnonzero(market.minutes == last["fundingTime"] // HOUR * HOUR - MINUTE)[0]
    assert last["markPrice"] == f"{market.mark.close[minute]:.8f}"
    ended = exchange.get("fundingRate", symbol="WAVESUSDT", startTime=0, limit=1000)
    assert ended[-1]["fundingTime"] < ms("2024-02-15 09:00")
    everyone = exchange.get("fundingRate", limit=1000)
    assert len(everyone) == 1000
    assert {r["symbol"] for r in everyone} == set(SYMBOLS)


# --------------------------------------------------------------------------- the unclosed candle
@pytest.mark.parametrize("path", KLINES)
def test_the_last_candle_is_unclosed_and_grows(at: Callable[[str], Exchange], path: str):
    name = "pair" if path == "indexPriceKlines" else "symbol"
    query = {name: "BTCUSDT", "interval": "1m", "limit": 2}
    seen = []
    for second in ("00.000", "10.000", "40.000", "59.999"):
        exchange = at(f"2024-03-11 09:30:{second}")
        closed, running = exchange.get(path, **query)
        assert running[0] == ms("2024-03-11 09:30")
        assert running[6] == ms("2024-03-11 09:31") - 1 >= exchange.now
        assert closed[0] == running[0] - MINUTE
        seen.append(running)
        low, high = float(running[3]), float(running[2])
        assert all(low <= float(running[i]) <= high for i in (1, 4))
    assert len({json.dumps(row) for row in seen}) >= 3
    assert len({row[1] for row in seen}) == 1, "the open stays"
    if path == "klines":
        assert seen[0][5] == "0.000"
        assert [float(x[5]) for x in seen] == sorted(float(x[5]) for x in seen)
        final = at("2024-03-11 09:31:00").get(path, **query)[0]
        assert seen[-1] == final, "all trades of the minute are in"


def test_the_running_hour_is_the_sum_of_its_minutes(exchange: Exchange):
    hour = exchange.get("klines", symbol="BTCUSDT", interval="1h", limit=1)[0]
    minutes = exchange.get("klines", symbol="BTCUSDT", interval="1m", startTime=hour[0])
    assert len(minutes) == 31
    for column in (5, 7, 8, 9, 10):
        assert float(hour[column]) == pytest.approx(sum(float(m[column]) for m in minutes))
    assert hour[1] == minutes[0][1]
    assert hour[4] == minutes[-1][4]
    assert float(hour[2]) == max(float(m[2]) for m in minutes)


def test_nothing_is_known_before_its_time(at: Callable[[str], Exchange]):
    early = at("2024-02-13 08:29:59")
    assert early.error("klines", symbol="TIAUSDT", interval="1m") == -1121
    symbols = {s["symbol"]: s for s in early.get("exchangeInfo")["symbols"]}
    assert "TIAUSDT" not in symbols
    assert symbols["WAVESUSDT"]["status"] == "TRADING"
    assert {r["symbol"]: r["fundingIntervalHours"] for r in early.get("fundingInfo")} == {
        "AVAXUSDT": 4,
        "1000PEPEUSDT": 4,
    }
    before = at("2024-02-09 23:00")
    assert [r["symbol"] for r in before.get("fundingInfo")] == ["AVAXUSDT"]
    rows = before.get("openInterestHist", symbol="BTCUSDT", period="5m")
    assert rows[-1]["timestamp"] == before.now
    rows = before.get("fundingRate", symbol="BTCUSDT")
    assert rows[-1]["fundingTime"] // HOUR * HOUR == ms("2024-02-09 16:00")


# ------------------------------------------------------------------------------------ the paging
@pytest.mark.parametrize(
    ("path", "default", "most", "query"),
    [
        *((path, 500, 1500, {"interval": "1m"}) for path in KLINES),
        ("fundingRate", 200, 1000, {}),
        *((path, 30, 500, {"period": "5m"}) for path in STATISTICS),
    ],
)
def test_limits_of_a_page(
    exchange: Exchange, path: str, default: int, most: int, query: dict[str, str]
):
    query = query | {"pair" if path == "indexPriceKlines" else "symbol": "AVAXUSDT"}
    assert len(exchange.get(path, **query)) == default
    largest = exchange.get(path, **query, limit=most)
    settled = int((live_market("AVAXUSDT").settle_times <= NOW).sum())
    assert len(largest) == (settled if path == "fundingRate" else most)
    assert largest[-7:] == exchange.get(path, **query, limit=7)
    for limit in (most + 1, 0, -1, "many", "1.5"):
        assert exchange.error(path, **query, limit=limit) == -1130


def test_pages_join_to_the_whole(exchange: Exchange):
    """Asking again from behind the last row brings every row once, gaps or not."""
    market = live_market("BTCUSDT")
    start, end = ms("2024-02-19 22:15"), ms("2024-02-20 12:15")
    query = {"symbol": "BTCUSDT", "interval": "1m", "limit": 301}
    for path in ("klines", "markPriceKlines"):
        rows: list[list[Any]] = []
        cursor = start
        while not rows or rows[-1][0] < end:
            page = exchange.get(path, **query, startTime=cursor, endTime=end)
            assert page[0][0] >= cursor
            rows += page
            cursor = rows[-1][0] + 1
        expected = (market.minutes >= start) & (market.minutes <= end)
        if path != "klines":
            expected &= ~within(market.minutes, OUTAGE)
        assert [r[0] for r in rows] == market.minutes[expected].tolist()


def test_both_ends_are_included(exchange: Exchange):
    first, last = ms("2024-03-01 10:00"), ms("2024-03-01 10:05")
    query = {"symbol": "BTCUSDT", "interval": "1m"}
    rows = exchange.get("klines", **query, startTime=first, endTime=last)
    assert [r[0] for r in rows] == list(range(first, last + 1, MINUTE))
    rows = exchange.get("klines", **query, startTime=first + 1, endTime=last - 1)
    assert [r[0] for r in rows] == list(range(first + MINUTE, last, MINUTE))
    rows = exchange.get("klines", **query, endTime=last, limit=2)
    assert [r[0] for r in rows] == [last - MINUTE, last]
    query = {"symbol": "BTCUSDT", "period": "5m", "startTime": first, "endTime": last}
    rows = exchange.get("openInterestHist", **query)
    assert [r["timestamp"] for r in rows] == [first, last]
    market = live_market("BTCUSDT")
    stamps = (market.settle_times + market.settle_jitter)[[10, 12]].tolist()
    rows = exchange.get("fundingRate", symbol="BTCUSDT", startTime=stamps[0], endTime=stamps[1])
    assert [r["fundingTime"] for r in rows][:: len(rows) - 1] == stamps


def test_a_long_span_of_statistics_loses_its_oldest_rows(exchange: Exchange):
    query = {"symbol": "BTCUSDT", "period": "5m", "startTime": ms("2024-03-01")}
    rows = exchange.get("openInterestHist", **query, endTime=ms("2024-03-02"), limit=10)
    assert len(rows) == 10
    assert rows[-1]["timestamp"] == ms("2024-03-02")


# ------------------------------------------------------------------------------------ the errors
def test_statistics_reach_thirty_days_back(exchange: Exchange):
    oldest = NOW - 30 * 24 * HOUR
    query = {"symbol": "BTCUSDT", "period": "5m", "endTime": oldest + HOUR}
    for path in STATISTICS:
        assert len(exchange.get(path, **query, startTime=oldest)) == 12
        response = exchange.ask(path, **query, startTime=oldest - 1)
        assert response.status_code == 400
        assert response.json() == {"code": -1130, "msg": "parameter 'startTime' is invalid."}
        assert exchange.get(path, **query | {"endTime": oldest - 1}) == []
        alone = {"symbol": "BTCUSDT", "period": "5m", "startTime": NOW - HOUR}
        assert exchange.error(path, **alone) == -1102


def test_errors_of_the_caller(exchange: Exchange):
    bars = {"symbol": "BTCUSDT", "interval": "1m"}
    response = exchange.ask("klines", symbol="NOPEUSDT", interval="1m")
    assert response.status_code == 400
    assert response.json() == {"code": -1121, "msg": "Invalid symbol."}
    for path in (*STATISTICS, "fundingRate", "openInterest", "premiumIndex"):
        assert exchange.error(path, symbol="NOPEUSDT", period="5m") == -1121
    assert exchange.error("indexPriceKlines", pair="NOPEUSDT", interval="1m") == -1121
    assert exchange.error("indexPriceKlines", **bars) == -1102
    assert exchange.error("klines", symbol="BTCUSDT") == -1102
    assert exchange.error("klines", **bars | {"interval": "1s"}) == -1120
    assert exchange.error("openInterestHist", symbol="BTCUSDT", period="1m") == -1120
    assert exchange.error("klines", **bars, startTime=2, endTime=1) == -1023
    assert exchange.error("klines", **bars, startTime="yesterday") == -1130
    assert exchange.ask("nothing").status_code == 404


# --------------------------------------------------------------------------------- the snapshots
def test_the_exchange_lists_what_has_no_data_too(exchange: Exchange):
    info = exchange.get("exchangeInfo")
    symbols = {s["symbol"]: s for s in info["symbols"]}
    assert set(symbols) == {*SYMBOLS, "龙虾USDT", "TSLAUSDT", "SRMUSDT", "BTCUSDT_240329"}
    assert symbols["TSLAUSDT"]["contractType"] == "TRADIFI_PERPETUAL"
    assert symbols["SRMUSDT"]["status"] == symbols["WAVESUSDT"]["status"] == "SETTLING"
    assert symbols["WAVESUSDT"]["deliveryDate"] == ms("2024-02-15 09:00")
    assert symbols["TIAUSDT"]["onboardDate"] == ms("2024-02-13 08:30")
    assert symbols["BTCUSDT"]["deliveryDate"] == 4133404800000
    assert symbols["BTCUSDT_240329"]["pair"] == "BTCUSDT"
    assert {f["filterType"]: f for f in symbols["币安人生USDT"]["filters"]}["PRICE_FILTER"][
        "tickSize"
    ] == "0.00001"
    for symbol in ("TSLAUSDT", "龙虾USDT", "BTCUSDT_240329"):
        assert exchange.get("klines", symbol=symbol, interval="1m") == []
        assert exchange.get("openInterestHist", symbol=symbol, period="5m") == []
        assert exchange.get("fundingRate", symbol=symbol) == []
        assert exchange.get("premiumIndex", symbol=symbol)["symbol"] == symbol


def test_the_premium_index_is_of_this_moment(at: Callable[[str], Exchange]):
    exchange = at("2024-03-11 07:59:59.999")
    market = live_market("BTCUSDT")
    minute = np.flatnonzero(market.minutes == ms("2024-03-11 07:59"))[0]
    row = exchange.get("premiumIndex", symbol="BTCUSDT")
    assert float(row["markPrice"]) == pytest.approx(market.mark.close[minute], rel=1e-6)
    assert row["nextFundingTime"] == ms("2024-03-11 08:00")
    settled = market.settle_rates[market.settle_times == row["nextFundingTime"]][0]
    assert row["lastFundingRate"] == f"{settled:.8f}", "the estimate has become the rate"
    rows = {r["symbol"]: r for r in exchange.get("premiumIndex")}
    assert rows["BTCUSDT"] == row
    assert rows["BTCUSDT_240329"]["lastFundingRate"] == ""
    assert set(rows) == {s["symbol"] for s in exchange.get("exchangeInfo")["symbols"]}
    known = market.open_interest[market.sample_times == ms("2024-03-11 07:55")][0]
    assert exchange.get("openInterest", symbol="BTCUSDT") == {
        "symbol": "BTCUSDT",
        "openInterest": f"{known:.3f}",
        "time": exchange.now,
    }
    assert exchange.get("time") == {"serverTime": exchange.now}


def test_bodies_have_the_fields_of_genuine_ones(exchange: Exchange):
    real = require_real_data() / "rest-fapi-raw-2026-07"

    def genuine(name: str) -> Any:
        return json.loads(next(real.rglob(name)).read_text())

    def kinds(row: dict[str, Any]) -> dict[str, type]:
        return {name: type(value) for name, value in row.items() if value is not None}

    info, theirs = exchange.get("exchangeInfo"), genuine("fapi-v1-exchangeInfo.json")
    assert set(info) == set(theirs)
    perpetual = next(s for s in theirs["symbols"] if s["symbol"] == "BTCUSDT")
    for symbol in info["symbols"]:
        assert kinds(symbol) == kinds(perpetual)
        filters = {f["filterType"]: kinds(f) for f in symbol["filters"]}
        assert filters == {f["filterType"]: kinds(f) for f in perpetual["filters"]}
    for path, file, query in (
        ("premiumIndex", "premiumIndex", {}),
        ("fundingInfo", "fundingInfo", {}),
        ("fundingRate", "fundingRate-BTCUSDT-limit10", {"endTime": ms("2024-03-08")}),
    ):
        found = next(r for r in genuine(f"fapi-v1-{file}.json") if None not in r.values())
        for row in exchange.get(path, **query):
            assert kinds(row).items() <= kinds(found).items()
            assert set(row) == set(found)

    recorded = json.loads((real.parent / "rest-recorded-gocryptotrader/http.json").read_text())
    for path in STATISTICS:
        found = recorded["routes"][f"/futures/data/{path}"]["GET"][0]["data"][0]
        row = exchange.get(path, symbol="BTCUSDT", period="5m", limit=1)[0]
        assert kinds(found).items() <= kinds(row).items()
        assert set(row) - set(found) <= {"CMCCirculatingSupply"}


# ------------------------------------------------------------------------------------ the limits
@pytest.mark.parametrize(
    ("path", "query", "weight"),
    [
        *(("klines", {"limit": n}, w) for n, w in ((99, 1), (100, 2), (499, 2), (500, 5))),
        *(("klines", {"limit": n}, w) for n, w in ((1000, 5), (1001, 10), (1500, 10))),
        ("markPriceKlines", {}, 5),
        ("exchangeInfo", {}, 1),
        ("premiumIndex", {"symbol": "BTCUSDT"}, 1),
        ("premiumIndex", {}, 10),
        ("openInterest", {"symbol": "BTCUSDT"}, 1),
        ("time", {}, 1),
        ("openInterestHist", {}, 0),
    ],
)
def test_weights(start: Callable[..., Exchange], path: str, query: dict[str, object], weight: int):
    exchange = start(weight_seconds=FOREVER)
    if path not in ("exchangeInfo", "premiumIndex", "time"):
        query = {"symbol": "BTCUSDT", "interval": "1m", "period": "5m", **query}
    for asked in (1, 2):
        used = exchange.ask(path, **query).headers["x-mbx-used-weight-1m"]
        assert used == str(asked * weight)
    assert sum(exchange.server.weight.used.values()) == 2 * weight


def test_each_bucket_has_its_own_limit(start: Callable[..., Exchange]):
    exchange = start(
        weight=9, weight_seconds=FOREVER, funding=3, funding_seconds=FOREVER,
        data=2, data_seconds=FOREVER, patience=100,
    )  # fmt: skip

    def count(path: str, **query: object) -> int:
        """Requests that are answered before the first refusal."""
        for n in range(20):
            response = exchange.ask(path, **query)
            assert ("x-mbx-used-weight-1m" in response.headers) == ("funding" not in path)
            if response.status_code != 200:
                assert response.status_code == 429
                assert response.json()["code"] == -1003
                assert int(response.headers["Retry-After"]) > 0
                return n
        raise AssertionError("no limit")

    assert count("fundingRate", symbol="BTCUSDT") == 3
    assert count("fundingInfo") == 0
    assert count("takerlongshortRatio", symbol="BTCUSDT", period="5m") == 2
    assert count("openInterestHist", symbol="BTCUSDT", period="5m") == 0
    assert count("klines", symbol="BTCUSDT", interval="1m") == 1
    assert count("time") == 0
    assert exchange.server.statuses == {200: 6, 429: 6}
    assert sum(exchange.server.funding.used.values()) == 5
    assert sum(exchange.server.data.refused.values()) == 2


def test_who_waits_as_told_may_ask_again(start: Callable[..., Exchange]):
    exchange = start(data=2, data_seconds=1, patience=1000)
    query = {"symbol": "BTCUSDT", "period": "5m"}
    while (refused := exchange.ask("openInterestHist", **query)).status_code == 200:
        pass
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "1"
    time.sleep(1)
    assert exchange.ask("openInterestHist", **query).status_code == 200


def test_who_asks_on_is_banned_from_everything(start: Callable[..., Exchange]):
    exchange = start(weight=1, weight_seconds=FOREVER, patience=2, ban_seconds=2)
    answers = [exchange.ask("time") for _ in range(5)]
    assert [a.status_code for a in answers] == [200, 429, 429, 418, 418]
    assert int(answers[3].headers["Retry-After"]) == 2
    banned = exchange.ask("openInterestHist", symbol="BTCUSDT", period="5m")
    assert banned.status_code == 418
    assert banned.json()["code"] == -1003
    assert "banned until" in banned.json()["msg"]
    time.sleep(int(banned.headers["Retry-After"]))
    assert exchange.ask("openInterestHist", symbol="BTCUSDT", period="5m").status_code == 200


# ------------------------------------------------------------------------------------ the faults
def test_faults_answer_instead(start: Callable[..., Exchange]):
    exchange = start()
    path = "fapi/v1/klines"
    exchange.server.faults[path] = [
        rest.restricted_location(),
        rest.firewall(),
        rest.unavailable(502),
        rest.html_page(),
        rest.api_error(-1121, "Invalid symbol.", http=200),
        server.cut_body(20),
        server.late(0.01),
    ]
    good = {"symbol": "BTCUSDT", "interval": "1m"}
    answers = [exchange.ask("klines", **good) for _ in range(7)]
    assert [a.status_code for a in answers] == [451, 403, 502, 200, 200, 200, 200]
    for answer in (answers[1], answers[3]):
        assert answer.text.startswith("<!DOCTYPE html>")
    assert answers[4].json() == {"code": -1121, "msg": "Invalid symbol."}
    assert len(answers[5].content) == 20
    with pytest.raises(json.JSONDecodeError):
        answers[5].json()
    assert len(answers[6].json()) == 500

    exchange.server.faults[path] = [server.reset(), server.short_body(100)]
    for _ in range(2):
        with pytest.raises(httpx.TransportError):
            exchange.ask("klines", **good)
    exchange.server.always[path] = server.other_status(200)
    assert exchange.ask("klines", symbol="NOPE", interval="1m").status_code == 200
    assert exchange.server.requests[-1].query == "symbol=NOPE&interval=1m"


def test_ccxt_is_a_client(exchange: Exchange):
    import ccxt

    client = ccxt.binanceusdm({"enableRateLimit": False})
    client.urls["api"]["fapiPublic"] = f"{exchange.server.api_url}/fapi/v1"
    client.urls["api"]["fapiData"] = f"{exchange.server.api_url}/futures/data"
    markets = client.load_markets()
    assert {"BTC/USDT:USDT", "币安人生/USDT:USDT", "BTC/USDT:USDT-240329"} < set(markets)
    rows = client.fapiPublicGetKlines({"symbol": "币安人生USDT", "interval": "1m", "limit": 3})
    assert rows == exchange.get("klines", symbol="币安人生USDT", interval="1m", limit=3)
    rows = client.fapiDataGetOpenInterestHist({"symbol": "BTCUSDT", "period": "5m", "limit": 3})
    assert len(rows) == 3
    with pytest.raises(ccxt.BadSymbol):
        client.fapiPublicGetKlines({"symbol": "NOPEUSDT", "interval": "1m"})


def test_the_contracts_of_a_market_are_alive_where_the_archive_has_rows(exchange: Exchange):
    market: Market = live_market("WAVESUSDT")
    living = alive(market.contract, market.sample_times)
    rows = exchange.get(
        "openInterestHist", symbol="WAVESUSDT", period="5m", limit=500,
        startTime=ms("2024-02-14"), endTime=ms("2024-02-15 23:00"),
    )  # fmt: skip
    assert rows[-1]["timestamp"] == market.sample_times[living][-1]
