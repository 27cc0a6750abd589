"""A month of aggTrades as the archive has it: a zip of any number of rows, written in pieces."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

MONTH_START = 1_706_745_600_000  # 2024-02-01
MONTH_MS = 29 * 86_400_000
PIECE = 1_000_000
HEADER = b"agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"


def pieces(rows: int, seed: int = 1):
    """Ticks of a contract like BTCUSDT, in tables of a million: bursts, runs of one side, a price
    that stays for a few ticks, and sizes from one lot to thousands."""
    rng = np.random.default_rng(seed)
    next_id, next_trade, price, time = 1_900_000_000, 4_500_000_000, 430_000, float(MONTH_START)
    pause = MONTH_MS / rows
    for first in range(0, rows, PIECE):
        n = min(PIECE, rows - first)
        fills = 1 + rng.geometric(0.45, n) - 1
        last = next_trade + np.cumsum(fills) - 1
        gaps = rng.exponential(pause, n) * rng.choice([0.05, 0.3, 2.8], n, p=[0.4, 0.3, 0.3])
        times = time + np.cumsum(gaps)
        moves = rng.choice([-6, -1, 0, 1, 6], n, p=[0.04, 0.12, 0.68, 0.12, 0.04])
        prices = price + np.cumsum(moves)
        lots = np.maximum(np.rint(np.exp(rng.normal(3.2, 1.9, n))), 1)
        lots = np.where(rng.random(n) < 0.35, rng.choice([1, 2, 5, 10, 100], n), lots)
        maker = np.cumsum(rng.random(n) < 0.35) % 2 == 0
        yield pa.table(
            [
                pa.array(next_id + np.arange(n)),
                pa.array(prices / 10),
                pa.array(np.minimum(lots, 500_000) / 1000),
                pa.array(last - fills + 1),
                pa.array(last),
                pa.array(np.minimum(times, MONTH_START + MONTH_MS - 1).astype(np.int64)),
                pa.array(maker),
            ],
            names=[str(i) for i in range(7)],
        )
        next_id, next_trade, price, time = (
            next_id + n,
            int(last[-1]) + 1,
            int(prices[-1]),
            times[-1],
        )


def write(path: Path, rows: int, seed: int = 1) -> int:
    """Write the zip; returns the size of the CSV in it."""
    plain = pacsv.WriteOptions(include_header=False, quoting_style="none")
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive,
        archive.open(f"{path.stem}.csv", "w", force_zip64=True) as member,
    ):
        member.write(HEADER)
        size = len(HEADER)
        for piece in pieces(rows, seed):
            sink = io.BytesIO()
            pacsv.write_csv(piece, sink, plain)
            size += member.write(sink.getvalue())
    return size
