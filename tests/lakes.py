"""Lakes made by hand: rows written as if they had been landed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ingest.datasets import SOURCES
from ingest.lake import FileRecord, Lake, LandingLog, LandingRecord, write_parquet

MINUTE = pd.Timedelta(minutes=1)


def minute_bars(symbol: str, bars: pd.DataFrame) -> pd.DataFrame:
    """Whole rows of klines_1m from ``open_time, open, high, low, close, volume`` and what else is
    given; the rest follows from these."""
    out = bars.copy()
    out["symbol"] = symbol
    out["close_time"] = out["open_time"] + MINUTE - pd.Timedelta(milliseconds=1)
    out["quote_volume"] = out.get("quote_volume", out["volume"] * out["close"])
    out["trade_count"] = out.get("trade_count", (out["volume"] > 0).astype("int64") * 3)
    out["taker_buy_volume"] = out["volume"] / 2
    out["taker_buy_quote_volume"] = out["quote_volume"] / 2
    return out


def land(folder: Path, minutes: pd.DataFrame) -> None:
    """Land klines_1m, one partition per symbol and month, replacing what stands there."""
    lake = Lake(folder)
    lake.prepare("vision")
    log = LandingLog(lake.log_folder, "vision")
    months = minutes["open_time"].dt.strftime("%Y-%m")
    for (symbol, month), rows in minutes.groupby(["symbol", months], sort=True):
        table = pa.Table.from_pandas(rows.sort_values("open_time"), preserve_index=False)
        land_partition(lake, log, "klines_1m", symbol, month, table)
    log.close()


def land_partition(
    lake: Lake,
    log: LandingLog,
    dataset: str,
    symbol: str,
    month: str,
    rows: pa.Table,
    files: Sequence[FileRecord] = (),
    uncovered_days: Sequence[str] = (),
    *,
    source: str = "vision",
    covered: Sequence[tuple[str, str]] = (),
) -> None:
    """Write one partition and log it; columns that the dataset lacks are left out."""
    spec = SOURCES[source][dataset]
    whole = rows.select(spec.schema.names).cast(spec.schema)
    size, digest = write_parquet(lake.partition(spec, symbol, month), whole, spec)
    log.append(
        LandingRecord(
            source, dataset, symbol, month, "landed", f"{month}-01", f"{month}-28",
            files=list(files), uncovered_days=list(uncovered_days), covered=list(covered),
            rows_out=whole.num_rows, parquet_bytes=size, parquet_sha256=digest,
        )
    )  # fmt: skip


def spans(folder: Path) -> dict[str, list[tuple[str, pd.Timestamp, pd.Timestamp]]]:
    """What each source of liquidations covers, from the log of a lake: symbol, start and end."""
    out: dict[str, list[tuple[str, pd.Timestamp, pd.Timestamp]]] = defaultdict(list)
    for source in SOURCES:
        for (dataset, symbol, _), record in Lake(folder).state(source).items():
            if dataset == "liquidations":
                times = [tuple(pd.Timestamp(t) for t in span) for span in record.covered]
                out[source] += [(symbol, a, b) for a, b in times]
            if dataset == "liquidation_snapshot":
                days = [pd.Timestamp(f.period) for f in record.files]
                out["archive"] += [(symbol, day, day + 1440 * MINUTE) for day in days]
    return out
