"""A tick file, from its zip to the two layers: ours, pandas, and inflating and parsing alone.

    python -m bench.ticks --rows 10000000 --rounds 3

Every candidate is a process of its own, one after the other, each round anew; the median counts.
Times are CPU seconds, so they do not flatter a candidate that keeps several cores busy; only the
last lines, one worker against two, are seconds of the clock.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import tape
from ingest.config import PROJECT_ROOT

NAME = "BTCUSDT-aggTrades-2024-02.zip"


def record():
    from ingest.lake import FileRecord

    return FileRecord("", "2024-02", "landed")


def parse(folder: Path) -> int:
    """Inflate and parse, as ours does, and do nothing with the rows."""
    from ingest import ticks
    from ingest.zips import open_member

    with open_member(folder / NAME, 64 << 30) as member:
        return sum(len(rows.time) for rows in ticks._read(member, record()))


def parse_arrow(folder: Path) -> int:
    """Inflate and parse with pyarrow instead."""
    import pyarrow as pa
    import pyarrow.csv as pacsv

    from ingest.zips import open_member

    pa.set_cpu_count(1)
    with open_member(folder / NAME, 64 << 30) as member:
        options = pacsv.ReadOptions(use_threads=False)
        return sum(batch.num_rows for batch in pacsv.open_csv(member, options))


def ours(folder: Path, keep: Path | None = None) -> int:
    """Both layers."""
    from ingest.ticks import reduce_zip

    layers = reduce_zip(folder / NAME, record(), folder / "sort", keep)
    return sum(layers.minutes["trade_count"].to_pylist())


def ours_keeping(folder: Path) -> int:
    """Both layers, and the ticks as Parquet."""
    return ours(folder, folder / "ticks.parquet")


def ours_shuffled(folder: Path) -> int:
    """Both layers of the same rows in no order at all."""
    from ingest.ticks import reduce_zip

    layers = reduce_zip(folder / "shuffled.zip", record(), folder / "sort")
    return sum(layers.minutes["trade_count"].to_pylist())


def in_pandas(folder: Path) -> int:
    """read_csv of the zip, then groupby: the same columns by the methods of pandas."""
    import numpy as np
    import pandas as pd

    ticks = pd.read_csv(folder / NAME)
    ticks = ticks.drop_duplicates("agg_trade_id").sort_values("agg_trade_id")
    ticks["quote"] = ticks["price"] * ticks["quantity"]
    ticks = ticks[(ticks["price"] > 0) & (ticks["quantity"] > 0) & np.isfinite(ticks["quote"])]
    ticks["quote_sq"] = ticks["quote"] ** 2
    ticks["trades"] = ticks["last_trade_id"] - ticks["first_trade_id"] + 1
    time = pd.to_datetime(ticks["transact_time"], unit="ms")
    ticks["minute"], ticks["hour"] = time.dt.floor("min"), time.dt.floor("h")
    by_side = ticks.groupby(["minute", "is_buyer_maker"]).agg(
        qty=("quantity", "sum"), quote=("quote", "sum"), count=("quote", "size"),
        quote_sq=("quote_sq", "sum"), max_quote=("quote", "max"),
    ).unstack()  # fmt: skip
    by_side.columns = [f"{name}_{'sell' if maker else 'buy'}" for name, maker in by_side]
    minutes = ticks.groupby("minute").agg(
        trade_count=("price", "size"), raw_trade_count=("trades", "sum"),
        price_first=("price", "first"), price_last=("price", "last"),
        price_high=("price", "max"), price_low=("price", "min"),
        first_id=("agg_trade_id", "first"), last_id=("agg_trade_id", "last"),
        first_time=("transact_time", "first"), last_time=("transact_time", "last"),
    ).join(by_side)  # fmt: skip
    ticks["bin"] = np.clip(np.floor(10 * np.log10(ticks["quote"]) + 1e-9), -1, 80)
    ticks.groupby(["hour", "is_buyer_maker", "bin"]).agg(
        n=("quote", "size"), quote=("quote", "sum")
    )
    return int(minutes["trade_count"].sum())


CANDIDATES: dict[str, Callable[[Path], int]] = {
    "parse": parse,
    "parse_arrow": parse_arrow,
    "ours": ours,
    "ours_keeping": ours_keeping,
    "ours_shuffled": ours_shuffled,
    "pandas": in_pandas,
}


def start(name: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.ticks", "--only", name, "--folder", str(folder)]
    env = {**os.environ, "POLARS_MAX_THREADS": "1"}
    return subprocess.Popen(command, cwd=PROJECT_ROOT, env=env, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> dict[str, float]:
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args} failed")
    return json.loads(out)


def only(name: str, folder: Path) -> None:
    """Run a candidate and print what it took, without the start of Python and its imports."""
    importlib.import_module("pandas" if name == "pandas" else "ingest.ticks")
    began, cpu = time.monotonic(), time.process_time()
    rows = CANDIDATES[name](folder)
    print(json.dumps({
        "rows": rows, "cpu": time.process_time() - cpu, "seconds": time.monotonic() - began,
        "peak_mb": peak_mb(),
    }))  # fmt: skip


def peak_mb() -> float:
    """Largest resident size of this process; ru_maxrss would begin with that of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1e3


def shuffle(folder: Path, rows: int) -> None:
    """The same month with its rows in no order."""
    import zipfile

    import duckdb

    path = folder / "shuffled.csv"
    with duckdb.connect(config={"memory_limit": "2GB", "temp_directory": str(folder)}) as engine:
        engine.execute(f"create table t as select * from read_csv('{folder}/plain.csv')")
        engine.execute(f"copy (from t order by hash(agg_trade_id)) to '{path}' (header)")
    with zipfile.ZipFile(folder / "shuffled.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as z:
        z.write(path, "shuffled.csv")
    path.unlink()


def prepare(folder: Path, rows: int) -> int:
    size = tape.write(folder / NAME, rows)
    import zipfile

    with (
        zipfile.ZipFile(folder / NAME) as archive,
        archive.open(archive.namelist()[0]) as member,
        (folder / "plain.csv").open("wb") as plain,
    ):
        shutil.copyfileobj(member, plain, 1 << 22)
    shuffle(folder, rows)
    (folder / "plain.csv").unlink()
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=CANDIDATES)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    if args.only:
        only(args.only, args.folder)
        return
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        csv_bytes = prepare(folder, args.rows)
        zip_bytes = (folder / NAME).stat().st_size
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in CANDIDATES}
        scaling = []
        for _ in range(args.rounds):
            for name, results in runs.items():
                results.append(finish(start(name, folder)))
            began = time.monotonic()
            alone = [finish(start("ours", folder)) for _ in range(2)]
            between = time.monotonic()
            for process in [start("ours", folder) for _ in range(2)]:
                alone.append(finish(process))
            scaling.append((between - began) / (time.monotonic() - between))
        report(args.rows, csv_bytes, zip_bytes, runs, scaling)
        print(f"ticks kept: {(folder / 'ticks.parquet').stat().st_size / 1e6:.1f} MB of Parquet")
    finally:
        shutil.rmtree(folder)


def report(
    rows: int,
    csv_bytes: int,
    zip_bytes: int,
    runs: dict[str, list[dict[str, float]]],
    scaling: list[float],
) -> None:
    """One line per candidate, then the ratios."""
    rounds = len(scaling)
    print(f"{rows:,} rows, zip {zip_bytes / 1e6:.0f} MB, CSV {csv_bytes / 1e6:.0f} MB; "
          f"medians of {rounds} rounds")  # fmt: skip
    print(f"{'':14}{'CPU s':>8}{'clock s':>9}{'rows/s/core':>13}{'peak MB':>9}")
    cpu = {}
    for name, results in runs.items():
        assert all(r["rows"] == rows for r in results), name
        middle = {key: statistics.median(r[key] for r in results) for key in results[0]}
        cpu[name] = middle["cpu"]
        print(f"{name:14}{middle['cpu']:8.2f}{middle['seconds']:9.2f}"
              f"{rows / middle['cpu']:13,.0f}{middle['peak_mb']:9.0f}")  # fmt: skip

    def ratios(a: str, b: str) -> str:
        each = sorted(x["cpu"] / y["cpu"] for x, y in zip(runs[a], runs[b], strict=True))
        return f"{cpu[a] / cpu[b]:.2f} (by round {each[0]:.2f} to {each[-1]:.2f})"

    print(f"pandas / ours, CPU: {ratios('pandas', 'ours')}")
    print(f"ours / inflating and parsing alone, CPU: {ratios('ours', 'parse')}")
    print(f"two workers against one, files a second: {statistics.median(scaling):.2f} "
          f"({min(scaling):.2f} to {max(scaling):.2f})")  # fmt: skip


if __name__ == "__main__":
    main()
