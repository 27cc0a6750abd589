"""How near a pull comes to the exchange's limits: share of the allowed weight that is used.

    .venv/bin/python -m bench.api --seconds 20 --windows 4

A simulated exchange allows the real weight (2,400) in windows of so many seconds; the real client
asks for minute bars without a pause. Shorter windows than the exchange's 60 seconds ask more of the
client. Rates are of this machine, which also plays the exchange.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from datetime import datetime, timedelta

from ingest.sandbox import rest
from ingest.sandbox.market import epoch_ms
from ingest.sandbox.rest import RestServer
from ingest.sandbox.scenario import live_markets
from ingest.sources.binance_api import ENDPOINTS, BinanceApi, Limits

NOW = datetime(2024, 3, 11, 6)


async def ask_for(seconds: float, url: str, limits: Limits) -> int:
    """Pull minute bars for so many seconds; returns the rows."""
    endpoint = ENDPOINTS["klines_1m"]
    rows = 0
    async with BinanceApi(url, connections=4, limits=limits) as api:
        end = time.monotonic() + seconds

        async def worker() -> None:
            nonlocal rows
            while time.monotonic() < end:
                start = datetime(2024, 2, 1)
                page = start + timedelta(minutes=endpoint.page)
                rows += len(await api.rows(endpoint, "BTCUSDT", start, page))

        await asyncio.gather(*(worker() for _ in range(4)))
    return rows


def main() -> None:
    """Print weight used per window and what was refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="length of a window")
    parser.add_argument("--windows", type=int, default=4)
    given = parser.parse_args()
    served = rest.Limits(weight_seconds=given.seconds)
    limits = Limits(weight_seconds=given.seconds)
    markets = live_markets(["BTCUSDT"])
    with RestServer(markets, now=lambda: epoch_ms(NOW), limits=served) as server:
        seconds = given.seconds * (given.windows + 1)
        started = time.time()
        rows = asyncio.run(ask_for(seconds, server.api_url, limits))
        ended = started + seconds
        whole = [
            weight
            for window, weight in sorted(server.weight.used.items())
            if started <= window * given.seconds and (window + 1) * given.seconds <= ended
        ]
        bad = sum(r.status in (418, 429) for r in server.requests)
    print(f"weight used in whole windows of {given.seconds:g} s: {whole} of {served.weight}")
    print(f"share of the allowance: {sum(whole) / len(whole) / served.weight:.1%}")
    print(f"refused (429, 418): {bad} of {len(server.requests)} requests")
    print(f"{rows / seconds:,.0f} rows/s over all, the first burst included")


if __name__ == "__main__":
    main()
