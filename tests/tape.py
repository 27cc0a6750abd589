"""The true ticks of an archive, read with pandas, independent of how they are landed."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd

from tests.reference.order_flow import TICK_COLUMNS, sound_ticks

KINDS = {
    "agg_trade_id": "int64",
    "price": "float64",
    "quantity": "float64",
    "first_trade_id": "int64",
    "last_trade_id": "int64",
    "transact_time": "int64",
    "is_buyer_maker": "bool",
}
FACTORS = {13: 1000, 16: 1, 19: -1000}  # digits of an epoch: factor to microseconds
DAY = pd.Timedelta(days=1)


def ticks_of_archive(root: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every tick that counts, in file order, and the days (symbol, day) that files cover.

    Monthly files come first. A day comes from its daily file where no readable monthly file holds
    it, or where the monthly one is damaged there and the daily one has no fewer sound ticks.
    """
    tree = root / "data/futures/um"
    folders = {p.name for p in tree.glob("*/aggTrades/*")}
    ticks: list[pd.DataFrame] = [pd.DataFrame(columns=[*TICK_COLUMNS, "day"])]
    covered: list[tuple[str, pd.Timestamp]] = []
    for folder in sorted(folders):
        symbol = unquote(folder)
        monthly = _files(tree / "monthly/aggTrades" / folder, symbol)
        daily = _files(tree / "daily/aggTrades" / folder, symbol)
        for month in sorted({*monthly, *(day[:7] for day in daily)}):
            own = {pd.Timestamp(d): f for d, f in daily.items() if d.startswith(month)}
            parts, days = _one_month(monthly.get(month), own)
            ticks += parts
            covered += [(symbol, day) for day in days]
    known = [part for part in ticks if len(part)] or ticks
    out = pd.concat(known, ignore_index=True)[TICK_COLUMNS]
    return out, pd.DataFrame(covered, columns=["symbol", "day"])


def _one_month(
    monthly: pd.DataFrame | None, daily: dict[pd.Timestamp, pd.DataFrame]
) -> tuple[list[pd.DataFrame], list[pd.Timestamp]]:
    """The ticks to use of a month's files, and the days that they cover."""
    if monthly is None:
        return list(daily.values()), sorted(daily)
    held = set(monthly["day"])
    suspect = damaged_days(monthly)
    sound = sound_ticks(monthly)[0].groupby("day").size()
    replaced = {
        day
        for day, ticks in daily.items()
        if day not in held or (day in suspect and len(sound_ticks(ticks)[0]) >= sound.get(day, 0))
    }
    kept = monthly[~monthly["day"].isin(replaced)]
    return [kept, *(daily[day] for day in sorted(replaced))], sorted(held | set(daily))


def damaged_days(ticks: pd.DataFrame) -> set[pd.Timestamp]:
    """Days of a file with a bad tick, or beside missing ids."""
    sound, bad = sound_ticks(ticks)
    kept = pd.concat([sound, bad]).sort_values("agg_trade_id")
    hole = np.diff(kept["agg_trade_id"]) > 1
    before, after = kept["day"][:-1][hole], kept["day"][1:][hole]
    return {*bad["day"], *before, *after}


def _files(folder: Path, symbol: str) -> dict[str, pd.DataFrame]:
    """The readable files of a folder by period, each in its own order."""
    out = {}
    for path in sorted(folder.glob("*.zip")):
        period = path.stem.split("-aggTrades-")[1]
        ticks = read_file(path, period)
        if ticks is not None:
            ticks["symbol"], ticks["file"] = symbol, period
            out[period] = ticks
    return out


def read_file(path: Path, period: str) -> pd.DataFrame | None:
    """The ticks of a zip that lie in its period, with their `day`; None if it is damaged."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    promised = path.with_name(f"{path.name}.CHECKSUM")
    if promised.exists() and not promised.read_text().startswith(digest):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            (member,) = archive.namelist()
            with archive.open(member) as stream:
                header = stream.peek(1)[:1].isalpha()
                ticks = pd.read_csv(
                    stream,
                    header=0 if header else None,
                    names=list(KINDS),
                ).astype(KINDS)
    except pd.errors.EmptyDataError:
        ticks = pd.DataFrame(columns=list(KINDS)).astype(KINDS)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError):
        return None
    ticks["transact_time"] = _times(ticks["transact_time"])
    ticks["day"] = ticks["transact_time"].dt.floor("D")
    first = pd.Timestamp(period)
    end = first + (DAY if len(period) == 10 else pd.offsets.MonthBegin())
    inside: pd.DataFrame = ticks[(ticks["day"] >= first) & (ticks["day"] < end)].copy()
    return None if len(ticks) and inside.empty else inside


def _times(epochs: pd.Series[int]) -> pd.Series[pd.Timestamp]:
    factor = FACTORS[len(str(epochs.max()))] if len(epochs) else 1
    micros = epochs * factor if factor > 0 else epochs // -factor
    return micros.astype("datetime64[us]")
