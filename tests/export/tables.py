"""Small wide tables in DuckDB files, and readers of exports that share no code with the writers."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from ingest.export.run import export
from ingest.export.source import Wish

T0 = datetime(2024, 1, 1)
FACTORS = ("open", "high", "low", "close", "volume", "vwap", "shape_skewVol")
TYPES = {
    "symbol": "varchar",
    **dict.fromkeys(("hour_ts", "bar_end_time", "feature_time"), "timestamp"),
    **dict.fromkeys(("has_bar", "listing_segment"), "integer"),
    **dict.fromkeys(FACTORS, "double"),
    "trade_count": "bigint",
    "bar_source": "varchar",
    "is_stable": "boolean",
    **dict.fromkeys(("trade_allowed", "is_valid_for_training"), "integer"),
}


@dataclass
class Listing:
    """Hours that a contract is listed, counted from T0; the last one is not included."""

    symbol: str
    first: int
    end: int
    segment: int = 1


LISTINGS = (
    Listing("BTCUSDT", 0, 60),
    Listing("1000PEPEUSDT", 20, 60),
    Listing("LUNAUSDT", 0, 12),
    Listing("LUNAUSDT", 40, 60, segment=2),
    Listing("WAVESUSDT", 3, 30),
    Listing("币安人生USDT", 7, 60),
)


def rows_of(listing: Listing, random: np.random.Generator) -> pd.DataFrame:
    """Rows of a contract, with NULLs, in no order."""
    count = listing.end - listing.first
    hours = [T0 + timedelta(hours=listing.first + n) for n in range(count)]
    frame = pd.DataFrame({"symbol": listing.symbol, "hour_ts": hours})
    frame["bar_end_time"] = frame["hour_ts"] + timedelta(hours=1)
    frame["feature_time"] = frame["bar_end_time"] + timedelta(milliseconds=1)
    frame["has_bar"] = random.integers(0, 2, count)
    frame["listing_segment"] = listing.segment
    for name in FACTORS:
        values = random.normal(size=count) * 10.0 ** random.integers(-20, 20, count)
        frame[name] = np.where(random.random(count) < 0.2, np.nan, values)
    frame["trade_count"] = random.integers(0, 2**40, count)
    frame["bar_source"] = random.choice(["klines_1m", 'a "quoted", one', ""], count)
    frame["is_stable"] = random.choice(np.array([True, False, None], dtype=object), count)
    for name in ("trade_allowed", "is_valid_for_training"):
        frame[name] = random.integers(0, 2, count)
    return frame.sample(frac=1, random_state=random)


def write_table(path: Path, frame: pd.DataFrame) -> Path:
    """A warehouse whose final_dataset has these rows; NaN becomes NULL."""
    columns = ", ".join(f'"{name}" {kind}' for name, kind in TYPES.items())
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"create table final_dataset ({columns})")
        connection.register("frame", frame[list(TYPES)])
        connection.execute("insert into final_dataset from frame")
    return path


def small_table(path: Path) -> Path:
    """A warehouse with six listings of five names."""
    random = np.random.default_rng(7)
    frame = pd.concat([rows_of(listing, random) for listing in LISTINGS])
    return write_table(path, frame.sample(frac=1, random_state=random))


def read_table(path: Path, condition: str = "true") -> pd.DataFrame:
    """Rows of final_dataset, sorted, with floats for numbers and flags, NaN for NULL."""
    with duckdb.connect(str(path), read_only=True) as connection:
        frame = connection.execute(
            f"from final_dataset where {condition} order by symbol, hour_ts"
        ).df()
    for name in frame:
        if name not in ("symbol", "hour_ts", "bar_end_time", "feature_time", "bar_source"):
            frame[name] = frame[name].astype("float64")
    return frame


def written(form: str, warehouse: Path, **wish: object) -> Path:
    """Folder of an export beside the warehouse."""
    target = warehouse.with_name(form)
    export(form, warehouse, Wish(**wish), target)
    return target


def read_qlib(folder: Path) -> dict[tuple[str, str], pd.Series]:
    """Values by instrument and field: Qlib's file format in 20 lines."""
    calendar = pd.to_datetime((folder / "calendars/60min.txt").read_text().splitlines())
    series = {}
    for line in (folder / "instruments/all.txt").read_text(encoding="utf-8").splitlines():
        instrument, _, _ = line.split("\t")
        for path in (folder / "features" / instrument.lower()).iterdir():
            content = path.read_bytes()
            (first,) = struct.unpack("<f", content[:4])
            values = np.array(struct.unpack(f"<{len(content) // 4 - 1}f", content[4:]), "f4")
            hours = calendar[int(first) : int(first) + len(values)]
            assert len(hours) == len(values)
            assert path.name.endswith(".60min.bin")
            field = path.name.removesuffix(".60min.bin")
            series[instrument, field] = pd.Series(values, index=hours)
    return series
