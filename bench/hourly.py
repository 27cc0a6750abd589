"""The hourly layer against polars: family G, 105 columns of windows over hourly tables.

    python -m bench.hourly --symbols 30 --months 12 --rounds 3

Ours is the `dbt run` of `hourly_transforms`, which joins the marts and writes a table. polars
reads one Parquet file with all that it needs, sorted, and writes one. Every run is a process of
its own.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import yaml

from bench.run import dbt, timed
from bench.scale.generate import generate
from ingest.config import PROJECT_ROOT

MODEL = "hourly_transforms"
REL, ABS = 1e-7, 1e-9


def asked() -> list[dict[str, Any]]:
    """The transforms that the project makes."""
    project = yaml.safe_load((PROJECT_ROOT / "dbt_project.yml").read_text())
    found: list[dict[str, Any]] = project["vars"]["transforms"]
    return found


def prepare(lake: Path, symbols: int, months: int) -> int:
    """A warehouse that has all but the model, and its inputs as a file; returns the hours."""
    generate(lake, symbols, months, ticks=True)
    dbt(lake, "seed")
    dbt(lake, "run", "--select", f"+{MODEL}")
    joins = " ".join(
        f"left join {mart} using (symbol, hour_ts)" for mart in sorted({a["mart"] for a in asked()})
    )
    columns = ", ".join(f"{a['mart']}.{a['factor']}" for a in asked())
    with duckdb.connect(str(lake.with_suffix(".duckdb")), read_only=True) as warehouse:
        warehouse.execute(
            f"""copy (select symbol, spine.listing_segment, hour_ts, {columns}
                from int_hourly_spine as spine {joins}
                order by symbol, spine.listing_segment, hour_ts)
            to '{inputs_of(lake)}'"""
        )
        found = warehouse.execute("select count(*) from int_hourly_spine").fetchone()
    assert found is not None
    return int(found[0])


def inputs_of(lake: Path) -> Path:
    return lake.with_suffix(".inputs.parquet")


def output_of(lake: Path) -> Path:
    return lake.with_suffix(".polars.parquet")


def ours(lake: Path) -> None:
    dbt(lake, "run", "--select", MODEL, "--full-refresh")


def in_polars(lake: Path) -> None:
    import polars as pl

    from bench.transforms_polars import transforms

    transforms(pl.scan_parquet(inputs_of(lake)), asked()).write_parquet(output_of(lake))


CANDIDATES = {"ours": ours, "polars": in_polars}


def disagreements(lake: Path) -> list[str]:
    """A line for each column in which the two differ."""
    columns = [f"g_{name}_{a['factor']}" for a in asked() for name in a["transforms"]]
    differ = ", ".join(
        f"""count(*) filter (
            abs(a.{c} - b.{c}) > {REL} * greatest(abs(a.{c}), abs(b.{c})) + {ABS}
            or (a.{c} is null) <> (b.{c} is null)
        )"""
        for c in columns
    )
    with duckdb.connect(str(lake.with_suffix(".duckdb")), read_only=True) as warehouse:
        found = warehouse.execute(
            f"""select {differ} from {MODEL} as a
            join '{output_of(lake)}' as b using (symbol, hour_ts)"""
        ).fetchone()
    assert found is not None
    return [f"{c}: {n} rows differ" for c, n in zip(columns, found, strict=True) if n]


def report(runs: dict[str, list[dict[str, float]]], hours: int) -> None:
    """One line per candidate, then the ratio."""
    print(f"{hours:,} hours; medians of {len(runs['ours'])} rounds")
    print(f"{'':8}{'seconds':>9}{'CPU':>9}{'peak GB':>9}")
    middle = {
        name: {key: statistics.median(r[key] for r in results) for key in results[0]}
        for name, results in runs.items()
    }
    for name, m in middle.items():
        print(f"{name:8}{m['seconds']:9.1f}{m['cpu']:9.1f}{m['peak_gb']:9.2f}")
    print(f"polars / ours, seconds: {middle['polars']['seconds'] / middle['ours']['seconds']:.2f}")


def main() -> None:
    """Measure in turn, then say where the two differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=30)
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=CANDIDATES)
    parser.add_argument("--lake", type=Path)
    args = parser.parse_args()
    if args.only:
        CANDIDATES[args.only](args.lake)
        return
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        lake = folder / "lake"
        hours = prepare(lake, args.symbols, args.months)
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in CANDIDATES}
        for _ in range(args.rounds):
            for name in CANDIDATES:
                command = [
                    sys.executable,
                    "-m",
                    "bench.hourly",
                    "--only",
                    name,
                    "--lake",
                    str(lake),
                ]
                runs[name].append(timed(name, lake, command))
        report(runs, hours)
        print("\n".join(disagreements(lake)) or "no column differs")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
