"""Bars of a simulated market as rows of twelve columns, and as they stand before they close."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ingest.sandbox.market import Market, Ohlc

MINUTE = 60_000

Mask = npt.NDArray[np.bool_]

_TRADED = (
    "minutes", "open_ticks", "high_ticks", "low_ticks", "close_ticks", "lots", "buy_lots",
    "quote", "buy_quote", "trades", "has_bar",
)  # fmt: skip


def _groups(minutes: npt.NDArray[np.int64], step: int) -> npt.NDArray[np.intp]:
    """Index of the first minute of every bar of ``step`` minutes."""
    slots = minutes // (step * MINUTE)
    return np.flatnonzero(np.concatenate([[True], slots[1:] != slots[:-1]]))


def klines(market: Market, mask: Mask, step: int) -> pa.Table:
    """Kline rows (twelve columns) of the chosen minutes, in bars of ``step`` minutes."""
    c = market.contract
    price, lot = 10**c.price_decimals, 10**c.lot_decimals
    minutes = market.minutes[mask]
    at = _groups(minutes, step)
    ends = np.append(at[1:], len(minutes)) - 1
    opens = minutes[at] // (step * MINUTE) * (step * MINUTE)
    total = np.add.reduceat
    return pa.table(
        [
            opens,
            market.open_ticks[mask][at] / price,
            np.maximum.reduceat(market.high_ticks[mask], at) / price,
            np.minimum.reduceat(market.low_ticks[mask], at) / price,
            market.close_ticks[mask][ends] / price,
            total(market.lots[mask], at) / lot,
            opens + step * MINUTE - 1,
            total(market.quote[mask], at) / (price * lot),
            total(market.trades[mask], at),
            total(market.buy_lots[mask], at) / lot,
            total(market.buy_quote[mask], at) / (price * lot),
            np.zeros(len(at), np.int64),
        ],
        names=[str(i) for i in range(12)],
    )


def prices(market: Market, path: Ohlc, mask: Mask, step: int) -> pa.Table:
    """Mark, index or premium rows: kline positions with placeholders."""
    minutes = market.minutes[mask]
    at = _groups(minutes, step)
    ends = np.append(at[1:], len(minutes)) - 1
    opens = minutes[at] // (step * MINUTE) * (step * MINUTE)
    zeros = np.zeros(len(at), np.int64)
    return pa.table(
        [
            opens,
            path.open[mask][at],
            np.maximum.reduceat(path.high[mask], at),
            np.minimum.reduceat(path.low[mask], at),
            path.close[mask][ends],
            zeros,
            opens + step * MINUTE - 1,
            zeros,
            np.full(len(at), step * 60),
            zeros,
            zeros,
            zeros,
        ],
        names=[str(i) for i in range(12)],
    )


def as_of(market: Market, chosen: Mask, now: int) -> Market:
    """The market with only the chosen minutes, the last of which may not be over at ``now``.

    The minute arrays are cut; the tape and all that is not of minutes are the whole market's.
    """
    rows = np.flatnonzero(chosen)
    cut: dict[str, Any] = {name: getattr(market, name)[rows] for name in _TRADED}
    for name in ("mark", "index", "premium"):
        path = getattr(market, name)
        cut[name] = Ohlc(path.open[rows], path.high[rows], path.low[rows], path.close[rows])
    minute = int(cut["minutes"][-1])
    if now >= minute + MINUTE:
        return replace(market, **cut)

    tape = market.tape
    seen = slice(*np.searchsorted(tape.times, [minute, now + 1]))
    ticks, lots = tape.price_ticks[seen], tape.lots[seen]
    bought = lots * ~tape.sold[seen]
    path_of_minute = np.append(cut["open_ticks"][-1], ticks)
    for name, value in (
        ("high_ticks", path_of_minute.max()),
        ("low_ticks", path_of_minute.min()),
        ("close_ticks", path_of_minute[-1]),
        ("lots", lots.sum()),
        ("buy_lots", bought.sum()),
        ("quote", (ticks * lots).sum()),
        ("buy_quote", (ticks * bought).sum()),
        ("trades", (tape.last_ids[seen] - tape.first_ids[seen] + 1).sum()),
    ):
        cut[name][-1] = value
    for name in ("mark", "index", "premium"):
        path = cut[name]
        first, last = path.open[-1], path.close[-1]
        path.close[-1] = np.round(first + (last - first) * (now - minute) / MINUTE, 8)
        path.high[-1] = max(first, path.close[-1])
        path.low[-1] = min(first, path.close[-1])
    return replace(market, **cut)
