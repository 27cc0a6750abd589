"""Write a simulated market as an archive: zips, sidecars, and the flaws of the scenario."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from ingest.datasets import VISION
from ingest.sandbox.bars import MINUTE, klines, prices
from ingest.sandbox.market import Contract, Market, alive, epoch_ms, within
from ingest.sandbox.scenario import (
    CONTRACTS,
    DECOYS,
    END,
    OUTAGE,
    SEED,
    START,
    midnight,
    simulated,
)

VERSION = 4  # raise it when the content changes: an archive of another version is written anew
HOUR = 3_600_000
DAY = 86_400_000
FIRST_NEXT_DAY_LABELS = date(2024, 3, 4)

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Summary:
    """What an archive holds."""

    files: int
    bytes: int
    reused: bool


def build_archive(
    root: Path, *, contracts: Sequence[Contract] = CONTRACTS, workers: int = 2
) -> Summary:
    """Write the archive of these contracts below ``root``, or keep it if it stands there already.

    Flaws go by the contract's name: those of contracts that are left out are left out too.
    """
    stamp = root.parent / f"{root.name}.json"
    wanted = {
        "version": VERSION, "seed": SEED, "start": str(START), "end": str(END),
        "symbols": [c.symbol for c in contracts],
    }  # fmt: skip
    reused = stamp.exists() and json.loads(stamp.read_text()) == wanted
    if not reused:
        shutil.rmtree(root, ignore_errors=True)
        stamp.unlink(missing_ok=True)
        root.mkdir(parents=True)
        with ProcessPoolExecutor(workers) as pool:
            list(pool.map(_write_contract, [root] * len(contracts), contracts))
        stamp.write_text(json.dumps(wanted))
    zips = list(root.rglob("*.zip"))
    return Summary(len(zips), sum(p.stat().st_size for p in zips), reused)


def publish_january(root: Path, *, corrected: bool) -> str:
    """Publish the ADAUSDT January minutes as they were first, or as corrected; returns the key."""
    contract = next(c for c in CONTRACTS if c.symbol == "ADAUSDT")
    market = simulated(contract)
    mask = _span(market, date(2024, 1, 1), date(2024, 2, 1))
    table = klines(market, mask, 1)
    if not corrected:
        table = _mistaken(table, market.minutes[mask])
    writer = _Writer(root, contract.symbol)
    return writer.put("klines_1m", "2024-01", table, header=False, days_late=40 if corrected else 0)


def _mistaken(table: pa.Table, minutes: npt.NDArray[np.int64]) -> pa.Table:
    """Five minutes with a volume that the exchange corrects later."""
    first = epoch_ms(datetime(2024, 1, 23, 15))
    return _with(table, 5, (minutes >= first) & (minutes < first + 5 * MINUTE), 1.0)


# ------------------------------------------------------------------------------------ the tables
def _span(market: Market, first: date, end: date) -> Mask:
    """Minutes with a bar from ``first`` to before ``end``."""
    return within(market.minutes, (midnight(first), midnight(end))) & market.has_bar


def _ticks(market: Market, mask: Mask) -> pa.Table:
    """Rows of the chosen aggregated trades."""
    c, tape = market.contract, market.tape
    return pa.table(
        [
            tape.ids[mask],
            tape.price_ticks[mask] / 10**c.price_decimals,
            tape.lots[mask] / 10**c.lot_decimals,
            tape.first_ids[mask],
            tape.last_ids[mask],
            tape.times[mask],
            tape.sold[mask],
        ],
        names=[str(i) for i in range(7)],
    )


def _csv(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pacsv.write_csv(table, sink, pacsv.WriteOptions(include_header=False, quoting_style="none"))
    return sink.getvalue()


# ------------------------------------------------------------------------------------- the files
class _Writer:
    """Puts the files of one symbol where the archive has them."""

    def __init__(self, root: Path, symbol: str) -> None:
        self.root, self.symbol = root, symbol

    def put(
        self,
        dataset: str,
        period: str,
        content: pa.Table | bytes,
        *,
        header: bool = True,
        prefix: int = 0,
        days_late: int = 0,
    ) -> str:
        """Write a zip and its sidecar; returns the key."""
        spec = VISION[dataset]
        body = content if isinstance(content, bytes) else _csv(content)
        if header:
            body = ",".join(spec.headers[0]).encode() + b"\n" + body
        cadence = "monthly" if len(period) == 7 else "daily"
        name = spec.file_name(self.symbol, period)
        key = f"{spec.prefixes(cadence, self.symbol)[prefix]}{name}"  # type: ignore[arg-type]
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        info = zipfile.ZipInfo(f"{path.stem}.csv", (2024, 1, 1, 0, 0, 0))
        info.compress_type = zipfile.ZIP_DEFLATED
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compresslevel=1) as archive:
            archive.writestr(info, body, compresslevel=1)
        # A replaced file appears whole: a download may be under way.
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_bytes(buffer.getvalue())
        day = date.fromisoformat(f"{period}-01" if len(period) == 7 else period)
        published = datetime(day.year, day.month, day.day, 9, tzinfo=UTC)
        published += timedelta(days=(33 if len(period) == 7 else 1) + days_late)
        os.utime(fresh, (published.timestamp(),) * 2)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        sidecar = path.with_name(f"{path.name}.CHECKSUM")
        sidecar.write_text(f"{digest}  {name}")
        os.utime(sidecar, (published.timestamp(),) * 2)
        os.replace(fresh, path)
        return key

    def path(self, key: str) -> Path:
        return self.root / key


def _write_contract(root: Path, contract: Contract) -> None:
    market = simulated(contract)
    writer = _Writer(root, contract.symbol)
    _write_bars(writer, market)
    _write_ticks(writer, market)
    _write_funding(writer, market)
    _write_metrics(writer, market)
    if contract.symbol in ("BTCUSDT", "ETHUSDT"):
        _write_liquidations(writer, market)
    if contract.symbol == "BTCUSDT":
        rows = klines(market, _span(market, date(2024, 1, 1), date(2024, 1, 2)), 1)
        for decoy in DECOYS:
            _Writer(root, decoy).put("klines_1m", "2024-01-01", rows)


def _periods() -> list[tuple[str, date, date]]:
    """(period, first day, day after) of every regular bar file."""
    periods = [
        ("2024-01", date(2024, 1, 1), date(2024, 2, 1)),
        ("2024-02", date(2024, 2, 1), date(2024, 3, 1)),
    ]
    day = date(2024, 3, 1)
    while day <= END:
        periods.append((day.isoformat(), day, day + timedelta(days=1)))
        day += timedelta(days=1)
    return periods


def _write_bars(writer: _Writer, market: Market) -> None:
    symbol = writer.symbol
    silent = within(market.minutes, OUTAGE)
    if symbol == "XRPUSDT":
        gap = epoch_ms(datetime(2024, 1, 19, 10))
        silent |= (market.minutes >= gap) & (market.minutes < gap + 90 * MINUTE)
    paths = {
        "mark_price_klines": (market.mark, ~silent),
        "index_price_klines": (market.index, ~silent),
        "premium_index_klines": (market.premium, np.ones_like(silent)),
    }
    for period, first, end in _periods():
        mask = _span(market, first, end)
        if not mask.any():
            continue
        header = not (symbol in ("ADAUSDT", "XRPUSDT") and period == "2024-01")
        for step, interval in ((1, "1m"), (60, "1h")):
            table = klines(market, mask, step)
            if interval == "1m":
                _put_minutes(writer, market, period, mask, table, header)
            else:
                writer.put("klines_1h", period, table, header=header)
            for name, (path, usable) in paths.items():
                if (symbol, name, interval, period) == (
                    "DOGEUSDT", "premium_index_klines", "1m", "2024-01",
                ):  # fmt: skip
                    continue
                # The exchange's own hours know the minutes that its minute files lost.
                chosen = mask & usable if interval == "1m" else mask
                table = prices(market, path, chosen, step)
                writer.put(f"{name}_{interval}", period, table, header=header)
    if symbol == "ETHUSDT":
        for day in range(1, 32):
            first = date(2024, 1, day)
            mask = _span(market, first, first + timedelta(days=1))
            writer.put("klines_1m", first.isoformat(), klines(market, mask, 1))


def _put_minutes(
    writer: _Writer, market: Market, period: str, mask: Mask, table: pa.Table, header: bool
) -> None:
    """The 1m kline file of a period, with the flaws that only minute files have."""
    symbol = writer.symbol
    minutes = market.minutes

    def on(day: date) -> Mask:
        return _span(market, day, day + timedelta(days=1))

    if (symbol, period) == ("ETHUSDT", "2024-01"):
        lost = on(date(2024, 1, 16)) | on(date(2024, 1, 19))
        table = klines(market, mask & ~lost, 1)
    elif (symbol, period) == ("SOLUSDT", "2024-02"):
        table = klines(market, mask & ~on(date(2024, 2, 6)), 1)
    elif (symbol, period) == ("ADAUSDT", "2024-01"):
        table = _mistaken(table, minutes[mask])
    elif (symbol, period) == ("BNBUSDT", "2024-01"):
        hour = epoch_ms(datetime(2024, 1, 14, 13))
        flat = (minutes[mask] >= hour) & (minutes[mask] < hour + HOUR)
        price = table["1"].to_numpy()[flat][0]
        for column in (1, 2, 3, 4):
            table = _with(table, column, flat, price)
        for column in (5, 7, 8, 9, 10):
            table = _with(table, column, flat, 0)
    elif (symbol, period) == ("DOGEUSDT", "2024-01"):
        n = table.num_rows
        order = np.concatenate([np.arange(20_000, n), np.arange(20_000), np.arange(500, 900)])
        table = table.take(pa.array(order))
    elif (symbol, period) == ("DOGEUSDT", "2024-02"):
        for column in (0, 6):
            table = table.set_column(
                column, str(column), pa.array(table[str(column)].to_numpy() * 1000)
            )
    key = writer.put("klines_1m", period, table, header=header)
    if (symbol, period) == ("LINKUSDT", "2024-03-04"):
        sidecar = writer.path(f"{key}.CHECKSUM")
        sidecar.write_text("0" * 64 + sidecar.read_text()[64:])
    elif (symbol, period) == ("LINKUSDT", "2024-03-06"):
        writer.path(f"{key}.CHECKSUM").unlink()


def _write_ticks(writer: _Writer, market: Market) -> None:
    """Aggregated trades with the flaws of their files; lost rows leave holes in the ids."""
    symbol = writer.symbol
    ids, times = market.tape.ids, market.tape.times

    def on(first: date, end: date) -> Mask:
        return within(times, (midnight(first), midnight(end)))

    kept = np.ones(len(times), bool)
    if symbol == "BNBUSDT":
        kept = ~within(times, (datetime(2024, 1, 23, 14, 10), datetime(2024, 1, 23, 14, 25)))
    elif symbol == "DOGEUSDT":
        kept = ~within(times, (datetime(2024, 1, 31, 23, 58), datetime(2024, 2, 1, 0, 3)))
    elif symbol == "1000PEPEUSDT":
        kept = times >= epoch_ms(datetime(2024, 2, 1))

    for period, first, end in _periods():
        mask = kept & on(first, end)
        if (symbol, period) == ("AVAXUSDT", "2024-02"):
            mask &= ~on(date(2024, 2, 8), date(2024, 2, 10))
        if not mask.any():
            continue
        table = _ticks(market, mask)
        if (symbol, period) == ("SOLUSDT", "2024-01"):
            n = table.num_rows
            blocks = np.argsort(np.arange(n) % ((n + 1) // 2) // 1000, kind="stable")
            table = table.take(pa.array(np.concatenate([blocks[:6_000], blocks[5_600:]])))
        elif (symbol, period) == ("ETHUSDT", "2024-01"):
            empty = within(times, (datetime(2024, 1, 21, 2), datetime(2024, 1, 21, 8)))
            empty &= ids * 61 % 100 < 38  # spread evenly
            table = _with(table, 2, empty[mask], 0)
        elif (symbol, period) == ("XRPUSDT", "2024-02"):
            empty = within(times, (datetime(2024, 2, 21, 10), datetime(2024, 2, 21, 11)))
            table = _with(table, 2, (empty & (ids % 3 == 0))[mask], 0)
        header = not (symbol in ("ADAUSDT", "XRPUSDT") and period == "2024-01")
        key = writer.put("agg_trades_1m", period, table, header=header)
        if (symbol, period) == ("LINKUSDT", "2024-02"):
            _truncate(writer.path(key))

    repaired = {
        "ETHUSDT": [date(2024, 1, 21)],
        "AVAXUSDT": [date(2024, 2, 8)],
        "LINKUSDT": [date(2024, 2, day) for day in range(1, 30)],
    }
    for day in repaired.get(symbol, ()):
        table = _ticks(market, on(day, day + timedelta(days=1)))
        writer.put("agg_trades_1m", day.isoformat(), table)


def _with(table: pa.Table, column: int, where: Mask, value: float) -> pa.Table:
    values = table[str(column)].to_numpy().copy()
    values[where] = value
    return table.set_column(column, str(column), pa.array(values))


def _write_funding(writer: _Writer, market: Market) -> None:
    times = market.settle_times
    for month, first, end in _periods()[:2]:
        mask = alive(market.contract, times) & within(times, (midnight(first), midnight(end)))
        if mask.any():
            rows = zip(
                (times + market.settle_jitter)[mask].tolist(),
                market.settle_hours[mask].tolist(),
                market.settle_rates[mask].tolist(),
                strict=True,
            )
            body = "".join(f"{t},{h},{rate:.8f}\n" for t, h, rate in rows)
            writer.put("funding_rate", month, body.encode())


def _write_metrics(writer: _Writer, market: Market) -> None:
    c = market.contract
    if c.symbol == "1000PEPEUSDT":
        return
    known = alive(c, market.sample_times)
    day = START
    while day <= END:
        start = epoch_ms(midnight(day))
        # The label is the end of the five minutes; the file holds 00:00-23:55 or 00:05-00:00.
        offset = 300_000 if day >= FIRST_NEXT_DAY_LABELS else 0
        inside = known & (market.sample_times >= start + offset)
        inside &= market.sample_times < start + offset + DAY
        rows = [
            [t, f"{oi:.8f}", f"{value:.8f}", *(f"{r:.8f}" for r in ratios), f"{taker:.8f}"]
            for t, oi, value, ratios, taker in zip(
                market.sample_times[inside].tolist(),
                market.open_interest[inside].tolist(),
                market.open_interest_value[inside].tolist(),
                market.ratios[inside].tolist(),
                market.taker_ratio[inside].tolist(),
                strict=True,
            )
        ]
        day += timedelta(days=1)
        if not rows:
            continue
        period = (day - timedelta(days=1)).isoformat()
        defective = _defects(c.symbol, period, rows)
        if defective is None:
            continue
        body = "".join(
            f"{datetime.fromtimestamp(r[0] / 1000, UTC):%Y-%m-%d %H:%M:%S},{c.symbol},"  # type: ignore[operator]
            f"{','.join(str(x) for x in r[1:])}\n"
            for r in defective
        )
        key = writer.put("metrics", period, body.encode())
        if (c.symbol, period) == ("LINKUSDT", "2024-02-22"):
            _truncate(writer.path(key))


def _defects(symbol: str, period: str, rows: list[list[int | str]]) -> list[list[int | str]] | None:
    """The rows of a daily metrics file with its defects, or None if there is no such file."""
    empty = '""'
    if period == "2024-02-16":  # every symbol: the file ends at 13:30
        return rows[:163]
    if (symbol, period) == ("BNBUSDT", "2024-02-08"):
        return None
    if (symbol, period) == ("BTCUSDT", "2024-01-10"):  # zeros for three hours
        return [[r[0], "0", "0", *r[3:]] if 120 <= i < 156 else r for i, r in enumerate(rows)]
    if (symbol, period) == ("BTCUSDT", "2024-01-11"):  # value zero, interest not
        return [[*r[:2], "0", *r[3:]] if 30 <= i < 40 else r for i, r in enumerate(rows)]
    if (symbol, period) == ("ETHUSDT", "2024-01-12"):  # no ratios
        return [[*r[:3], empty, empty, empty, empty] for r in rows]
    if (symbol, period) == ("XRPUSDT", "2024-02-05"):  # late by up to 36 s
        return [[int(r[0]) + (i % 37) * 1000, *r[1:]] for i, r in enumerate(rows)]
    if (symbol, period) == ("XRPUSDT", "2024-02-06"):  # the last samples of every hour are missing
        return [r for i, r in enumerate(rows) if i % 12 < 10]
    if (symbol, period) == ("ADAUSDT", "2024-02-06"):  # a twin of zeros in some buckets
        twins: list[list[int | str]] = [[int(r[0]) + 16_000, *"000000"] for r in rows[150:160]]
        return [*rows[:200], *twins, *rows[200:]]
    if (symbol, period) == ("ADAUSDT", "2024-02-07"):  # duplicated rows
        return [*rows, *rows[10:15]]
    return rows


def _truncate(path: Path) -> None:
    """Cut a zip short; its sidecar describes the cut file, so only the zip itself can tell."""
    modified = path.stat().st_mtime
    path.write_bytes(path.read_bytes()[:-60])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(f"{path.name}.CHECKSUM").write_text(f"{digest}  {path.name}")
    os.utime(path, (modified, modified))


def _write_liquidations(writer: _Writer, market: Market) -> None:
    """Snapshots of three days under the unadvertised prefix; every row is written twice."""
    price = 10**market.contract.price_decimals
    lot = 10**market.contract.lot_decimals
    orders = market.liquidations
    for day in (date(2024, 1, 8), date(2024, 1, 9), date(2024, 1, 10)):
        inside = within(orders.times, (midnight(day), midnight(day + timedelta(days=1))))
        lines = []
        for i in np.flatnonzero(inside).tolist():
            side = "SELL" if orders.sold[i] else "BUY"
            size = int(orders.lots[i]) / lot
            row = (
                f"{orders.times[i]},{side},LIMIT,IOC,{size},{int(orders.price_ticks[i]) / price},"
                f"{int(orders.average_ticks[i]) / price},FILLED,"
                f"{int(orders.last_lots[i]) / lot},{size}\n"
            )
            lines += [row, row]
        writer.put("liquidation_snapshot", day.isoformat(), "".join(lines).encode(), prefix=1)
