"""Families D and E of the same minutes: ours, pandas, polars, and the machine's own limit.

    python -m bench.run --symbols 90 --months 2 --rounds 3

Every candidate is a process of its own, one after the other, each round anew; the median counts.
Ours is a `dbt run` of the models that make D and E, into a warehouse that has bars, spine and
funding but none of them; its time is that of the run without the start of dbt. pandas gets a few
symbols only and is compared per minute and core, with the methods of pandas and with numpy inside
the hour.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import minutes
from ingest.config import PROJECT_ROOT
from ingest.lake import Lake

CORES = 2
PANDAS_SYMBOLS = 2
BY_HOUR = ("pandas", "numpy")  # one process, one symbol after the other
FACTORS = [
    "int_minute_factors_hourly",
    "int_us_open_hourly",
    "hourly_momentum",
    "hourly_volatility",
]


def bars_of(lake: Path, symbol: str = "*") -> str:
    return f"{lake}/vision/klines_1m/symbol={symbol}/month=2*/data.parquet"


def scan(lake: Path, symbols: list[str], months: list[str]) -> None:
    """Read every column and add it up: what no implementation can beat."""
    import duckdb

    duckdb.sql(
        f"""select sum(open), sum(high), sum(low), sum(close), sum(volume), sum(quote_volume)
        from '{bars_of(lake)}'"""
    ).fetchall()


def in_pandas(lake: Path, symbols: list[str], months: list[str], hour: str = "pandas") -> None:
    """Symbol after symbol, hour by hour, as such pipelines do."""
    import pandas as pd

    from bench import factors_pandas

    one_hour = getattr(factors_pandas, f"hour_in_{hour}")
    settlements = minutes.settlements(symbols, months).to_pandas()
    for symbol in symbols[:PANDAS_SYMBOLS]:
        parts = [
            pd.read_parquet(bars_of(lake, symbol).replace("month=2*", f"month={month}"))
            for month in months
        ]
        bars = pd.concat(parts, ignore_index=True).assign(symbol=symbol)
        own = settlements[settlements["symbol"] == symbol]
        factors_pandas.momentum_and_volatility(bars, own, one_hour)


def in_numpy(lake: Path, symbols: list[str], months: list[str]) -> None:
    """The same with numpy inside the hour."""
    in_pandas(lake, symbols, months, "numpy")


def in_polars(lake: Path, symbols: list[str], months: list[str], kind: str = "_plain") -> None:
    """All symbols, on all cores, as users of polars write it."""
    import polars as pl

    module = importlib.import_module(f"bench.factors_polars{kind}")
    module.momentum_and_volatility(
        pl.scan_parquet(bars_of(lake), hive_partitioning=True),
        pl.DataFrame(minutes.settlements(symbols, months)),
    )


def in_tuned_polars(lake: Path, symbols: list[str], months: list[str]) -> None:
    """The same, rewritten for speed alone: own runs, own sorts, own threads."""
    in_polars(lake, symbols, months, "")


def prepare(lake: Path) -> None:
    """The warehouse up to the models that are measured."""
    lake.with_suffix(".duckdb").unlink(missing_ok=True)
    dbt(lake, "seed")
    dbt(lake, "run", "--select", *(f"+{m}" for m in FACTORS), "--exclude", *FACTORS)


def ours(lake: Path, symbols: list[str], months: list[str]) -> None:
    """The factor models, from the minutes in the lake."""
    dbt(lake, "run", "--select", *FACTORS)


def dbt(lake: Path, *args: str) -> None:
    target = lake.with_suffix(".target")
    paths = {"PERP_LAKE": str(lake), "PERP_WAREHOUSE": str(lake.with_suffix(".duckdb"))}
    subprocess.run(
        [Path(sys.executable).with_name("dbt"), "--quiet", *args,
         "--target-path", target, "--log-path", target],
        cwd=PROJECT_ROOT, check=True, env={**os.environ, **paths},
    )  # fmt: skip


CANDIDATES = {
    "scan": scan,
    "ours": ours,
    "polars": in_polars,
    "tuned": in_tuned_polars,
    "pandas": in_pandas,
    "numpy": in_numpy,
}


def measure(name: str, lake: Path, symbols: list[str], months: list[str]) -> dict[str, float]:
    """Run one candidate in a process of its own."""
    if name == "ours":
        prepare(lake)
    command = [sys.executable, "-m", "bench.run", "--only", name, "--lake", str(lake),
               "--symbols", str(len(symbols)), "--months", str(len(months))]  # fmt: skip
    return timed(name, lake, command)


def timed(name: str, lake: Path, command: list[str]) -> dict[str, float]:
    """Seconds, CPU seconds and peak memory in GB; those of ours are without the start of dbt."""
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=PROJECT_ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{name} failed with status {status}")
    result = {
        "seconds": time.monotonic() - started,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_gb": usage.ru_maxrss / 1e6,
    }
    if name == "ours":
        results = json.loads((lake.with_suffix(".target") / "run_results.json").read_text())
        result["with_dbt"], result["seconds"] = result["seconds"], results["elapsed_time"]
    return result


def report(runs: dict[str, list[dict[str, float]]], n_rows: int, n_symbols: int) -> None:
    """One line per candidate, then the ratios."""
    rate: dict[str, float] = {}
    print(f"{n_rows:,} minutes, {CORES} cores; medians of {len(runs['ours'])} rounds")
    print(f"{'':8}{'seconds':>9}{'minutes/s':>13}{'per core':>12}{'peak GB':>9}")
    for name, results in runs.items():
        middle: dict[str, Any] = {
            key: statistics.median(r[key] for r in results) for key in results[0]
        }
        rows = n_rows * PANDAS_SYMBOLS / n_symbols if name in BY_HOUR else n_rows
        rate[name] = rows / middle["seconds"]
        per_core = rate[name] / (1 if name in BY_HOUR else CORES)
        print(f"{name:8}{middle['seconds']:9.1f}{rate[name]:13,.0f}{per_core:12,.0f}"
              f"{middle['peak_gb']:9.2f}")  # fmt: skip
        if name == "ours":
            print(f"{'':8}{middle['with_dbt']:9.1f} with the start of dbt")
    for name in BY_HOUR:
        print(f"ours / {name}, per core: {rate['ours'] / CORES / rate[name]:.1f}")
    for name in ("polars", "tuned", "scan"):
        print(f"ours / {name}: {rate['ours'] / rate[name]:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=90)
    parser.add_argument("--months", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=CANDIDATES)
    parser.add_argument("--lake", type=Path)
    args = parser.parse_args()
    symbols = [f"S{i:02d}USDT" for i in range(args.symbols)]
    months = [f"2024-{i + 1:02d}" for i in range(args.months)]
    if args.only:
        CANDIDATES[args.only](args.lake, symbols, months)
        return
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        n_rows = minutes.write(Lake(folder / "lake"), symbols, months, seed=1)
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in CANDIDATES}
        for _ in range(args.rounds):
            for name in CANDIDATES:
                runs[name].append(measure(name, folder / "lake", symbols, months))
        report(runs, n_rows, len(symbols))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
