"""Genuine exchange files laid out as an archive: zips and checksums are made on the fly."""

from __future__ import annotations

import gzip
import hashlib
import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

REAL = Path(
    os.environ.get("PERP_REAL_DATA", Path(__file__).resolve().parents[2] / "shared" / "real")
)


def require_real_data() -> Path:
    """The folder of genuine files; skips the test, saying so, where it is absent."""
    if not REAL.is_dir():
        pytest.skip(f"no genuine exchange files at {REAL}; set PERP_REAL_DATA")
    return REAL


def put_zip(root: Path, key: str, content: bytes, *, member: str | None = None) -> Path:
    """Write a one-member zip and its sidecar under an archive key; returns the zip's path."""
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    info = zipfile.ZipInfo(member or path.with_suffix(".csv").name, (2024, 1, 1, 0, 0, 0))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(info, content)
    put_checksum(path)
    return path


def put_checksum(path: Path) -> None:
    """Write the sidecar that fits a zip."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(f"{path.name}.CHECKSUM").write_text(f"{digest}  {path.name}")


def lay_out_klines(real: Path, root: Path) -> list[str]:
    """Monthly 1m kline files; returns the symbols."""
    symbols = set()
    for source in sorted((real / "vision-um-monthly-klines-1m").glob("*.csv.gz")):
        stem = source.name.removesuffix(".csv.gz")
        symbol = stem.split("-")[0]
        symbols.add(symbol)
        key = f"data/futures/um/monthly/klines/{symbol}/1m/{stem}.zip"
        put_zip(root, key, gzip.decompress(source.read_bytes()))
    return sorted(symbols)


def lay_out_metrics(real: Path, root: Path, symbol: str) -> list[str]:
    """Daily metrics files of a symbol; returns the days."""
    days = []
    for source in sorted((real / "vision-um-daily-metrics-resaved" / symbol).glob("*.csv")):
        put_zip(
            root, f"data/futures/um/daily/metrics/{symbol}/{source.stem}.zip", source.read_bytes()
        )
        days.append(source.stem[-10:])
    return days


def lay_out_funding(real: Path, root: Path, symbol: str) -> list[tuple[int, float]]:
    """REST settlements of a symbol, with their real jitter, as monthly fundingRate files.

    Returns:
        (calc_time in ms, rate) of every settlement.
    """
    lines = (real / "rest-gravestone-data" / "funding" / f"{symbol}.csv").read_text().splitlines()
    settlements = []
    months: dict[str, list[str]] = {}
    for line in lines[1:]:
        calc_time, _, rate = line.split(",")
        settlements.append((int(calc_time), float(rate)))
        month = datetime.fromtimestamp(int(calc_time) / 1000, UTC).strftime("%Y-%m")
        months.setdefault(month, []).append(f"{calc_time},8,{rate}")
    for month, rows in months.items():
        key = f"data/futures/um/monthly/fundingRate/{symbol}/{symbol}-fundingRate-{month}.zip"
        header = "calc_time,funding_interval_hours,last_funding_rate"
        put_zip(root, key, "\n".join([header, *rows]).encode())
    return settlements
