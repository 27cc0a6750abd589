"""Pulls through the real ccxt client from the simulated exchange, with its limits and errors."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from ingest.api import Options, ingest_api
from ingest.config import Config
from ingest.datasets import API, MARKET
from ingest.errors import PerpError, UsageError
from ingest.lake import Lake
from ingest.sandbox import rest
from ingest.sandbox.market import epoch_ms
from ingest.sandbox.rest import RestServer
from ingest.sandbox.scenario import live_markets
from ingest.sandbox.server import reset, short_body, status
from ingest.sources.binance_api import ENDPOINTS, BinanceApi, Limiter, Limits, Waiting
from ingest.sources.downloads import Failed, Retry
from ingest.spans import from_log

NOW = datetime(2024, 3, 11, 6, 0, 30)
SYMBOLS = ["BTCUSDT", "AVAXUSDT"]
QUICK = Retry(attempts=3, base_seconds=0.01, max_seconds=0.2)
MINUTE = timedelta(minutes=1)


class Clock:
    """The exchange's time, to be moved by the test."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return epoch_ms(self.now)


class Exchange:
    """A simulated exchange and a lake to pull into."""

    def __init__(self, server: RestServer, clock: Clock, folder: Path) -> None:
        self.server, self.clock = server, clock
        self.config = Config(
            folder / "lake", folder / "w.duckdb", "http://127.0.0.1:9", "http://127.0.0.1:9",
            api_url=server.api_url,
        )  # fmt: skip
        self.lake = Lake(self.config.lake)

    def pull(self, datasets=("klines_1m",), symbols=SYMBOLS, start=date(2024, 3, 11), **options):
        """Pull, and return the summary."""
        self.server.requests.clear()
        options = Options(retry=QUICK, **options)
        _, summary = ingest_api(self.config, list(datasets), symbols, start, None, options)
        return summary

    def rows(self, dataset: str, symbol: str = "BTCUSDT", month: str = "2024-03"):
        """A partition's rows."""
        path = self.lake.partition(API[dataset], symbol, month)
        return duckdb.sql(f"select * from read_parquet('{path}', hive_partitioning = false)").df()

    def record(self, dataset: str, symbol: str = "BTCUSDT", month: str = "2024-03"):
        """A partition's newest record."""
        return self.lake.state("api")[dataset, symbol, month]

    def asked(self) -> Counter[str]:
        """Requests so far by the end of their path."""
        return Counter(r.path.rsplit("/", 1)[-1] for r in self.server.requests)


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    clock = Clock()
    with RestServer(live_markets(["BTCUSDT", "AVAXUSDT", "币安人生USDT"]), now=clock) as server:
        yield Exchange(server, clock, tmp_path)


def test_every_series_lands_with_its_closed_rows(exchange: Exchange):
    summary = exchange.pull(datasets=API)
    assert summary.ok, summary.problems
    market = live_markets(["BTCUSDT"])["BTCUSDT"]
    day = market.minutes >= epoch_ms(datetime(2024, 3, 11))
    minutes = exchange.rows("klines_1m")
    assert len(minutes) == 360, "the bar of 06:00 is still open"
    tick, lot = 10.0**-market.contract.price_decimals, 10.0**-market.contract.lot_decimals
    np.testing.assert_allclose(minutes["close"], market.close_ticks[day][:360] * tick)
    np.testing.assert_allclose(minutes["taker_buy_volume"], market.buy_lots[day][:360] * lot)
    np.testing.assert_array_equal(minutes["trade_count"], market.trades[day][:360])
    for dataset, rows in {
        "klines_1h": 6, "mark_price_klines_1m": 360, "index_price_klines_1h": 6,
        "premium_index_klines_1m": 360, "open_interest_5m": 73, "taker_ratio_5m": 73,
    }.items():  # fmt: skip
        assert len(exchange.rows(dataset)) == rows, dataset
    samples = market.sample_times >= epoch_ms(datetime(2024, 3, 11))
    np.testing.assert_allclose(
        exchange.rows("open_interest_5m")["sum_open_interest"],
        market.open_interest[samples][:73],
        rtol=1e-8,
    )
    np.testing.assert_allclose(
        exchange.rows("top_position_ratio_5m")["long_short_ratio"],
        market.ratios[samples][:73, 1],
        atol=1e-3,
    )
    funding = exchange.rows("funding_rate", "AVAXUSDT")
    assert [t.hour for t in funding["funding_time"]] == [0, 4]
    contracts = exchange.rows("exchange_info", MARKET)
    assert {"TSLAUSDT", "币安人生USDT", "BTCUSDT"} <= set(contracts["contract"])
    assert set(exchange.rows("open_interest", MARKET)["contract"]) == set(SYMBOLS)
    assert len(exchange.rows("premium_index", MARKET)) >= 3
    assert len(exchange.rows("funding_info", MARKET)) >= 1


def test_a_symbol_of_another_script_is_asked_for_by_its_name(exchange: Exchange):
    summary = exchange.pull(["klines_1h", "index_price_klines_1h"], ["币安人生USDT"])
    assert summary.ok, summary.problems
    assert len(exchange.rows("klines_1h", "币安人生USDT")) == 6
    assert len(exchange.rows("index_price_klines_1h", "币安人生USDT")) == 6


def test_a_second_pull_asks_for_nothing_but_what_is_new(exchange: Exchange):
    exchange.pull()
    assert exchange.pull().requests == 2, "the time and the contracts"
    exchange.clock.now += timedelta(minutes=7)
    assert exchange.pull().requests == 4
    asked = [r.query for r in exchange.server.requests if r.path.endswith("klines")]
    start = epoch_ms(datetime(2024, 3, 11, 6))
    assert all(f"startTime={start}" in query for query in asked)
    rows = exchange.rows("klines_1m")
    assert len(rows) == 367
    assert rows["open_time"].is_unique
    assert from_log(exchange.record("klines_1m").covered) == [
        (datetime(2024, 3, 11), datetime(2024, 3, 11, 6, 7))
    ]


def test_an_open_candle_is_never_landed(exchange: Exchange):
    exchange.pull()
    before = exchange.rows("klines_1m")
    exchange.clock.now += timedelta(minutes=3)
    exchange.pull()
    after = exchange.rows("klines_1m")
    assert before.equals(after.iloc[: len(before)]), "what was landed has not changed"
    record = exchange.record("klines_1m")
    assert (record.duplicates_dropped, record.conflicts_dropped) == (0, 0)


def test_pages_add_up(exchange: Exchange):
    summary = exchange.pull(["klines_1m", "open_interest_5m"], ["BTCUSDT"], date(2024, 3, 8))
    assert summary.ok
    assert len(exchange.rows("klines_1m")) == 3 * 1440 + 360
    assert len(exchange.rows("open_interest_5m")) == 3 * 288 + 73
    assert exchange.asked()["klines"] == 5
    assert exchange.asked()["openInterestHist"] == 2


def test_months_are_partitions_and_statistics_reach_thirty_days_back(exchange: Exchange):
    summary = exchange.pull(["klines_1h", "global_account_ratio_5m"], ["BTCUSDT"], date(2024, 1, 1))
    assert summary.ok, summary.problems
    assert [len(exchange.rows("klines_1h", month=f"2024-0{m}")) for m in (1, 2)] == [744, 696]
    oldest = exchange.rows("global_account_ratio_5m", month="2024-02")["timestamp"].min()
    assert timedelta(0) <= oldest - (NOW - timedelta(days=30)) < 3 * 5 * MINUTE


def test_nothing_is_asked_for_before_a_listing(exchange: Exchange):
    with RestServer(live_markets(["TIAUSDT"]), now=exchange.clock) as server:
        exchange.config = replace(exchange.config, api_url=server.api_url)
        exchange.pull(["klines_1h"], ["TIAUSDT"], date(2024, 1, 1))
    assert set(exchange.lake.state("api")) == {
        ("klines_1h", "TIAUSDT", "2024-02"), ("klines_1h", "TIAUSDT", "2024-03"),
    }  # fmt: skip


def test_a_default_symbol_that_is_not_listed_is_left_out_and_named(exchange: Exchange, capsys):
    options = Options(retry=QUICK)
    start = date(2024, 3, 11)
    ingest_api(
        exchange.config, ["klines_1h"], None, start, None, options,
        default_symbols=["BTCUSDT", "GONEUSDT"],
    )  # fmt: skip
    assert "left out, the exchange does not list them: GONEUSDT" in capsys.readouterr().err
    assert [key[1] for key in exchange.lake.state("api")] == ["BTCUSDT"]


def test_an_unknown_symbol_is_refused_with_a_hint(exchange: Exchange):
    with pytest.raises(UsageError, match=r"no contract BTCUSD; did you mean BTCUSDT"):
        exchange.pull(symbols=["BTCUSD"])


# ------------------------------------------------------------------------------------- failures
@pytest.mark.parametrize(
    "fault",
    [
        rest.unavailable(503),
        rest.html_page(),
        status(429, {"Retry-After": "0"}),
        reset(),
        short_body(20),
    ],
    ids=["503", "html", "429", "reset", "short"],
)
def test_a_passing_failure_is_waited_out(exchange: Exchange, fault):
    exchange.server.faults["fapi/v1/klines"] = [fault]
    summary = exchange.pull(symbols=["BTCUSDT"])
    assert summary.ok, summary.problems
    assert len(exchange.rows("klines_1m")) == 360
    assert exchange.asked()["klines"] == 2


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (rest.api_error(-1121, "Invalid symbol."), "Invalid symbol"),
        (rest.api_error(-1121, "Invalid symbol.", http=200), "Invalid symbol"),
        (rest.unavailable(500), r"HTTP 500 \(3 attempts\)"),
    ],
    ids=["400", "200 with an error", "500 for good"],
)
def test_a_failure_spares_the_other_symbols_and_what_stood(exchange: Exchange, fault, text):
    exchange.pull(symbols=["BTCUSDT"])
    before = exchange.rows("klines_1m")
    exchange.clock.now += 10 * MINUTE
    exchange.server.faults["fapi/v1/klines"] = [fault] * 3
    summary = exchange.pull(symbols=["BTCUSDT"])
    assert not summary.ok
    assert exchange.rows("klines_1m").equals(before)
    record = exchange.record("klines_1m")
    assert record.status == "failed"
    assert record.rows_out == 360
    exchange.server.faults.clear()
    assert exchange.pull().ok
    assert len(exchange.rows("klines_1m")) == 370


def test_what_was_answered_before_a_failure_stays(exchange: Exchange):
    page = ENDPOINTS["klines_1m"].page
    fine = lambda _, reply: reply  # noqa: E731
    exchange.server.faults["fapi/v1/klines"] = [fine, fine, *[rest.unavailable()] * 3]
    summary = exchange.pull(symbols=["BTCUSDT"], start=date(2024, 3, 8), connections=1)
    assert "klines_1m BTCUSDT 2024-03: HTTP 503 (3 attempts)" in summary.problems[0]
    assert len(exchange.rows("klines_1m")) == 2 * page
    exchange.pull(symbols=["BTCUSDT"], start=date(2024, 3, 8))
    assert exchange.asked()["klines"] == 3, "only the rest"
    assert len(exchange.rows("klines_1m")) == 3 * 1440 + 360


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (rest.restricted_location(), r"not offered in this country .*perp ingest archive"),
        (rest.firewall(), r"HTTP 403, its firewall"),
        (status(418, {"Retry-After": "120"}), r"has banned this address for 120 s"),
    ],
    ids=["451", "403", "418"],
)
def test_a_refusal_ends_the_run_and_says_what_to_do(exchange: Exchange, fault, text):
    exchange.server.always["fapi/v1/klines"] = fault
    with pytest.raises(PerpError, match=text):
        exchange.pull()
    assert exchange.asked()["klines"] <= 4, "nothing is asked of who has refused"


def test_an_answer_that_is_not_understood_is_kept_out(exchange: Exchange):
    body = json.dumps([["x"] * 12]).encode()
    headers = {"Content-Type": "application/json"}
    exchange.server.always["fapi/v1/klines"] = status(200, headers, body)
    summary = exchange.pull(symbols=["BTCUSDT"])
    assert "the answer for klines_1m is not understood" in summary.problems[0]
    assert exchange.record("klines_1m").parquet_bytes is None


def test_one_contract_without_open_interest_spares_the_others(exchange: Exchange):
    refused = rest.api_error(-4108, "This symbol is in settling.")
    exchange.server.faults["fapi/v1/openInterest"] = [refused]
    summary = exchange.pull(["open_interest"], connections=1)
    assert len(summary.problems) == 1
    assert "open_interest BTCUSDT: HTTP 400" in summary.problems[0]
    assert list(exchange.rows("open_interest", MARKET)["contract"]) == ["AVAXUSDT"]


def test_rows_sent_twice_land_once_and_are_counted(exchange: Exchange):
    def twice(_, reply):
        rows = json.loads(reply.body)
        corrected = [*rows[5][:5], "123.5", *rows[5][6:]]
        body = json.dumps([*rows, rows[3], corrected]).encode()
        return replace(
            reply, body=body, headers={**reply.headers, "Content-Length": str(len(body))}
        )

    exchange.server.faults["fapi/v1/klines"] = [twice]
    assert exchange.pull(symbols=["BTCUSDT"]).ok
    rows, record = exchange.rows("klines_1m"), exchange.record("klines_1m")
    assert len(rows) == 360
    assert rows["volume"][5] == 123.5, "the later answer counts"
    assert (record.duplicates_dropped, record.conflicts_dropped) == (1, 1)


# --------------------------------------------------------------------------------------- limits
def test_a_limit_is_kept_and_used(exchange: Exchange):
    """Ten windows' worth of weight: nothing is refused, and every whole window is nearly full."""
    weight, seconds = 200, 1.0
    served = rest.Limits(weight=weight, weight_seconds=seconds)
    with RestServer(exchange.server.markets, now=exchange.clock, limits=served) as server:
        limits = Limits(weight=weight, weight_seconds=seconds)

        async def ask() -> None:
            async with BinanceApi(server.api_url, connections=4, retry=QUICK, limits=limits) as api:
                endpoint = replace(ENDPOINTS["klines_1m"], page=10, weight=1)
                start = datetime(2024, 3, 11)
                await asyncio.gather(
                    *(
                        api.rows(endpoint, "BTCUSDT", start, start + 10 * MINUTE)
                        for _ in range(4 * weight)
                    )
                )

        asyncio.run(ask())
        refused = sum(server.weight.refused.values())
        used = sorted(server.weight.used.values())
    assert refused == 0
    assert not [r for r in server.requests if r.status in (418, 429)]
    assert max(used) <= weight
    assert sum(used) == 4 * weight


def test_others_on_the_same_address_are_heeded(exchange: Exchange):
    """Somebody else has used the window up: the client stands still until it has passed."""
    served = rest.Limits(weight=50, weight_seconds=1.0)
    with RestServer(exchange.server.markets, now=exchange.clock, limits=served) as server:
        limits = Limits(weight=50, weight_seconds=1.0)

        async def ask() -> None:
            async with BinanceApi(server.api_url, connections=1, retry=QUICK, limits=limits) as api:
                while time.time() % 1.0 > 0.2:
                    await asyncio.sleep(0.01)
                await api.server_time()
                window = int(time.time())
                server.weight.used[window] += 48
                for _ in range(10):
                    await api.server_time()

        asyncio.run(ask())
        assert not [r for r in server.requests if r.status != 200]


def test_what_is_waited_for_at_once_counts_once():
    async def ask() -> tuple[float, float]:
        waiting = Waiting()
        limiters = [Limiter(1, 60, waiting) for _ in range(3)]
        for limiter in limiters:
            limiter.block(0.3)
        begun = time.monotonic()
        await asyncio.gather(*(limiter.take(1) for limiter in limiters))
        return waiting.seconds, time.monotonic() - begun

    waited, elapsed = asyncio.run(ask())
    assert 0 < waited <= elapsed


def test_the_summary_tells_how_long_the_limits_were_waited_for(exchange: Exchange):
    assert exchange.pull(symbols=["BTCUSDT"]).asked.endswith(" requests"), "less than a second"
    exchange.clock.now += timedelta(hours=1)
    slower = status(429, {"Retry-After": "2"})
    exchange.server.faults["fapi/v1/klines"] = [slower]
    summary = exchange.pull(symbols=["BTCUSDT"])
    assert summary.ok
    assert summary.waited >= 1
    assert re.fullmatch(r"\d+ requests \(\d+ s waiting for its limits\)", summary.asked)


def test_a_ban_is_not_argued_with(exchange: Exchange):
    served = rest.Limits(weight=5, weight_seconds=60, patience=0)
    with RestServer(exchange.server.markets, now=exchange.clock, limits=served) as server:
        exchange.config = replace(exchange.config, api_url=server.api_url)
        with pytest.raises(PerpError, match="banned this address"):
            exchange.pull(connections=1)
        assert sum(r.status == 418 for r in server.requests) == 1


def test_failed_requests_count_their_attempts(exchange: Exchange):
    exchange.server.always["fapi/v1/time"] = rest.unavailable()

    async def ask() -> None:
        async with BinanceApi(exchange.server.api_url, retry=QUICK) as api:
            await api.server_time()

    with pytest.raises(Failed, match=r"HTTP 503 \(3 attempts\)"):
        asyncio.run(ask())
    assert exchange.asked()["time"] == 3


# ---------------------------------------------------------------------------------- the command
def perp(exchange: Exchange, *arguments: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PERP_LAKE": str(exchange.config.lake),
        "PERP_API_URL": exchange.server.api_url,
    }
    command = [str(Path(sys.executable).with_name("perp")), *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_command_lands_the_last_days_and_says_so(exchange: Exchange):
    arguments = ["ingest", "api", "--symbols", "BTCUSDT", "--datasets", "klines_1h,funding_rate"]
    out, _ = perp(exchange, *arguments, "--dry-run").communicate()
    assert "4 partitions" in out
    run = perp(exchange, *arguments)
    out, err = run.communicate()
    assert run.returncode == 0, err
    assert "partitions: 4 landed" in out
    assert len(exchange.rows("klines_1h")) == 10 * 24 + 6
    assert "BTCUSDT" in perp(exchange, "status").communicate()[0]


def test_an_interrupt_keeps_what_has_been_answered(exchange: Exchange):
    exchange.server.always["fapi/v1/klines"] = lambda _, reply: time.sleep(0.3) or reply
    arguments = ["--symbols", "BTCUSDT", "--datasets", "klines_1m", "--start", "2024-02-15"]
    run = perp(exchange, "ingest", "api", *arguments)
    deadline = time.monotonic() + 60
    while exchange.asked()["klines"] < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate()
    assert run.returncode == 130, err
    exchange.server.always.clear()
    held = sum(len(from_log(r.covered)) for r in exchange.lake.state("api").values())
    assert held > 0
    assert exchange.pull(symbols=["BTCUSDT"], start=date(2024, 2, 15)).ok
    times = [exchange.rows("klines_1m", month=m)["open_time"] for m in ("2024-02", "2024-03")]
    assert sum(len(t) for t in times) == (15 + 10) * 1440 + 360
    assert all(t.is_unique for t in times)
