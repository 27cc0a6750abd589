"""The live sources of the sandbox, ingested by the real clients in a few seconds.

The simulated exchange's clock goes on where the archive ends: the API has the hours since, and the
stream is recorded in simulated time. A vendor sells a month of liquidations, and somebody has
captured an afternoon of the stream as CSV.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

from ingest.api import Options as PullOptions
from ingest.api import ingest_api
from ingest.captures import ImportSummary, import_captures
from ingest.config import Config
from ingest.datasets import API
from ingest.record import RecordingSummary, RecordOptions, record_liquidations
from ingest.run import Options, Summary
from ingest.sandbox.market import Market, epoch_ms
from ingest.sandbox.rest import RestServer
from ingest.sandbox.scenario import END, LIVE_START, SYMBOLS
from ingest.sandbox.stream import ReplayClock, StreamServer, market_feed
from ingest.sandbox.tardis import TardisServer
from ingest.sources.liquidation_stream import StreamOptions
from ingest.tardis import ingest_tardis

PULLED = [symbol for symbol in SYMBOLS if symbol != "1000PEPEUSDT"]
VENDOR_DAYS = (date(2024, 2, 5), date(2024, 3, 5))
TICKER_DAYS = (date(2024, 3, 1), date(2024, 3, 2))
TICKER_SYMBOLS = ["BTCUSDT", "AVAXUSDT"]
CAPTURED = (datetime(2024, 3, 7, 11, 50), datetime(2024, 3, 7, 18, 10))
RECORDED = (datetime(2024, 3, 10, 18), LIVE_START)
_SPEED = 7200  # simulated seconds of the recording per second


def pull(config: Config, markets: dict[str, Market]) -> Summary:
    """This month's settlements; the last archived day, to compare; and the hours after it."""
    with RestServer(markets, now=lambda: epoch_ms(LIVE_START)) as server:
        local = replace(config, api_url=server.api_url)
        ingest_api(local, ["funding_rate"], PULLED, END.replace(day=1), None, PullOptions())
        _, summary = ingest_api(local, list(API), PULLED, END, None, PullOptions(overlap=True))
    return summary


def buy(config: Config, markets: dict[str, Market]) -> tuple[Summary, Summary]:
    """A month of the vendor's liquidations, and two days of its ticker."""
    with TardisServer(markets) as server:
        local = replace(config, tardis_url=server.url)

        def land(dataset: str, symbols: list[str] | None, days: tuple[date, date]) -> Summary:
            return ingest_tardis(
                local, path=None, datasets=[dataset], symbols=symbols, first=days[0],
                last=days[1], options=Options(),
            )  # fmt: skip

        return (
            land("liquidations", None, VENDOR_DAYS),
            land("derivative_ticker", TICKER_SYMBOLS, TICKER_DAYS),
        )


def capture(config: Config, markets: dict[str, Market], folder: Path) -> ImportSummary:
    """An afternoon of the stream as somebody's script has flattened it, imported."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "binance_liquidations.csv"
    path.write_text("".join(f"{line}\n" for line in flattened(list(markets.values()), *CAPTURED)))
    return import_captures(config, [path], recorded=CAPTURED)


def flattened(markets: Sequence[Market], start: datetime, end: datetime) -> list[str]:
    """Lines of a capture: the symbol without USDT, the order's fields, its value."""
    lines = []
    for _, message in market_feed(markets, start, end):
        o = message["o"]
        fields = [o["s"].removesuffix("USDT"), *(o[k] for k in "Sofqp"), o["ap"], o["X"], o["l"],
                  o["z"], o["T"], float(o["z"]) * float(o["ap"])]  # fmt: skip
        lines.append(",".join(str(f) for f in fields))
    return lines


def record(config: Config, markets: dict[str, Market]) -> RecordingSummary:
    """Twelve simulated hours of the stream; the connection breaks once."""
    clock = ReplayClock(RECORDED[0], _SPEED)
    feed = market_feed(markets.values(), *RECORDED)
    with StreamServer(feed, clock=clock) as server:
        server.drop_after = len(feed) // 3
        return record_liquidations(
            replace(config, stream_url=server.url),
            RecordOptions(
                rotate_seconds=1, sync_seconds=0.1, stream=StreamOptions(max_leap=timedelta.max)
            ),
            clock=clock.now,
            stop=lambda: clock.now() >= RECORDED[1] + timedelta(hours=1),
        )


def hours(spans: Sequence[tuple[str, str]]) -> float:
    """Length of spans as the landing log writes them, in hours."""
    ends = ((datetime.fromisoformat(a), datetime.fromisoformat(b)) for a, b in spans)
    return sum((b - a) / timedelta(hours=1) for a, b in ends)
