"""Build the warehouse at several sizes and say what it costs.

    python -m bench.scale --sizes 10x12,30x24,92x62 --memory-limit 4GB --folder DIR --json FILE

A size is symbols x months. Each gets a lake (``bench/scale/generate.py``), is built from nothing
and published, built once more with nothing new, once more after one more day, published again and
asked. Sizes that are done are in the file at once.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.scale.generate import generate
from bench.scale.market import contracts
from bench.scale.measure import Build, Run, Warehouse, ask, size_of
from ingest.config import PROJECT_ROOT

SLOWEST = 25
Size = tuple[int, int]


def measure(size: Size, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything of one size."""
    symbols, months = size
    warehouse = Warehouse(folder, given.memory_limit)
    warehouse.forget()

    def lake_of(days: int) -> dict[str, Any]:
        made = generate(warehouse.lake, symbols, months, days=days, ticks=given.ticks)
        return {k: round(v, 1) for k, v in asdict(made).items()}

    out: dict[str, Any] = {"symbols": symbols, "months": months, "lake": lake_of(given.days)}
    note(f"{symbols}x{months}: lake {out['lake']}")
    builds: list[Build] = []
    publishes: dict[str, Run] = {}
    for name in ("from nothing", "nothing new", "one more day"):
        if name == "one more day":
            out["lake one more day"] = lake_of(given.days + 1)
        # a day's update leaves them out: they read no data
        unit_tests = name == "from nothing"
        builds.append(warehouse.build(name, given.select, unit_tests=unit_tests))
        note(f"{symbols}x{months}: {name} {builds[-1].run}")
        if builds[-1].failed:
            note(f"{len(builds[-1].failed)} nodes failed, the first is {builds[-1].failed[0]}")
        elif name != "nothing new" and not given.select:
            publishes[name] = warehouse.publish()
            note(f"{symbols}x{months}: {name}, published {publishes[name]}")
    out["builds"] = {build.name: build.summary() for build in builds}
    tables = warehouse.tables()
    out["lake bytes"] = size_of(warehouse.lake)
    out["warehouse bytes"] = warehouse.path.stat().st_size
    out["symbol_hours"] = tables["int_hourly_spine"].rows if "int_hourly_spine" in tables else 0
    out["models"] = {
        name: {
            "rows": tables[name].rows if name in tables else None,
            "bytes": tables[name].bytes if name in tables else None,
            "seconds": [round(build.seconds.get(name, 0.0), 2) for build in builds],
        }
        for name in sorted(builds[0].seconds)
    }
    out["publish"] = {
        name: {k: round(getattr(done, k), 2) for k in ("wall", "cpu", "memory_mb")}
        for name, done in publishes.items()
    }
    if publishes:
        published = folder / "published" / "current"
        out["published bytes"] = size_of(published)
        out["queries"] = ask(published, contracts(1)[0].symbol, given.memory_limit)
    return out


def note(text: str) -> None:
    """Say how far it is."""
    print(text, file=sys.stderr, flush=True)


# ---------------------------------------------------------------------------------- what is shown
def machine() -> dict[str, Any]:
    """What the figures belong to."""
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory[1]) / 2**20) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("duckdb", "dbt-core", "dbt-duckdb", "pyarrow")},
        "commit": commit.stdout.strip(),
    }


def text_of(record: dict[str, Any]) -> str:
    """The record as tables."""
    sizes: dict[str, Any] = record["sizes"]
    lines = [", ".join(f"{k} {v}" for k, v in record["machine"].items())]
    lines += [f"memory limit {record['memory_limit']}, {record['what']}", ""]
    head = f"{'':36}" + "".join(f"{name:>14}" for name in sizes)

    def row(name: str, values: Iterable[float | None], form: str = ",.1f") -> None:
        cells = (f"{v:>14{form}}" if v is not None else f"{'':14}" for v in values)
        lines.append(f"{name:36}" + "".join(cells))

    lines.append(head)
    row("symbol-hours", (s["symbol_hours"] for s in sizes.values()), ",")
    row("lake, GB", (s["lake bytes"] / 1e9 for s in sizes.values()), ",.2f")
    row("  generated, s", (s["lake"]["seconds"] for s in sizes.values()))
    row("warehouse, GB", (s["warehouse bytes"] / 1e9 for s in sizes.values()), ",.2f")
    for build in next(iter(sizes.values()))["builds"]:
        of_build = [s["builds"][build] for s in sizes.values()]
        lines += ["", f"{build}, s"]
        row("  wall", (b["wall"] for b in of_build))
        row("  CPU", (b["cpu"] for b in of_build))
        for group in sorted({g for b in of_build for g in b["groups"]}):
            for kind in ("seconds", "busy"):
                found = (b["groups"].get(group, {}).get(kind) for b in of_build)
                row(f"  {group}, {'sum' if kind == 'seconds' else 'busy'}", found)
        row("  peak memory, GB", (b["memory_mb"] / 1e3 for b in of_build), ",.2f")
        row("  spill, GB", (b["spill_mb"] / 1e3 for b in of_build), ",.2f")
        row("  failed nodes", (len(b["failed"]) for b in of_build), ",d")
    asked = {q for s in sizes.values() for q in s.get("queries", {})}
    if asked:
        lines += [""]
        for name in next(iter(sizes.values()))["publish"]:
            walls = (s["publish"].get(name, {}).get("wall") for s in sizes.values())
            row(f"publish {name}, s", walls)
        row("published, GB", (s.get("published bytes", 0) / 1e9 for s in sizes.values()), ",.2f")
    for query in sorted(asked):
        lines.append(query)
        for kind in ("first", "median"):
            found = (s.get("queries", {}).get(query, {}).get(kind) for s in sizes.values())
            row(f"  {kind}, s", found, ",.3f")
    lines += ["", *exponents(sizes), "", f"slowest models of {list(sizes)[-1]}"]
    lines.append(f"{'':36}{'s':>9}{'again':>9}{'1 day':>9}{'rows':>14}{'MB':>10}")
    models = list(sizes.values())[-1]["models"]
    slowest = sorted(models, key=lambda name: -models[name]["seconds"][0])[:SLOWEST]
    for name in slowest:
        seconds = "".join(f"{s:9.1f}" for s in models[name]["seconds"])
        rows, size = models[name]["rows"], models[name]["bytes"]
        held = f"{rows:14,}{size / 1e6:10,.1f}" if rows is not None else ""
        lines.append(f"{name:36}{seconds}{held}")
    return "\n".join(lines)


def exponents(sizes: dict[str, Any]) -> list[str]:
    """How cost grows from size to size: 1 is in proportion to the symbol-hours."""
    lines = []
    names = list(sizes)
    for small, large in itertools.pairwise(names):
        a, b = sizes[small], sizes[large]
        if not a["symbol_hours"] or a["symbol_hours"] == b["symbol_hours"]:
            continue
        steps = math.log(b["symbol_hours"] / a["symbol_hours"])
        first, second = a["builds"]["from nothing"], b["builds"]["from nothing"]
        costs = {
            "wall": (first["wall"], second["wall"]),
            "CPU": (first["cpu"], second["cpu"]),
        }
        for group in ("minute models", "hourly models", "tests"):
            if group in first["groups"] and group in second["groups"]:
                pair = (first["groups"][group]["busy"], second["groups"][group]["busy"])
                costs[group] = pair
        found = ", ".join(f"{k} {math.log(y / x) / steps:.2f}" for k, (x, y) in costs.items() if x)
        lines.append(f"exponent {small} to {large}: {found}")
    return lines


# ------------------------------------------------------------------------------------ command line
def sizes_of(text: str) -> list[Size]:
    """``10x12,30x24`` as pairs."""
    try:
        pairs = [tuple(map(int, part.split("x"))) for part in text.split(",")]
        sizes = [(symbols, months) for symbols, months in pairs]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not symbols x months, as 10x12") from None
    if min(min(size) for size in sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} has a size without symbols or months")
    return sizes


def main() -> None:
    """Measure all sizes; exits with 1 if a node of a build failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=sizes_of, default="10x12", help="symbols x months, ...")
    parser.add_argument("--memory-limit", default="4GB", help="of DuckDB")
    parser.add_argument("--folder", type=Path, required=True, help="where lakes and warehouses go")
    parser.add_argument("--json", type=Path, required=True, help="file for the results")
    parser.add_argument("--days", type=int, default=20, help="of the last month, before one more")
    parser.add_argument("--ticks", action="store_true", help="tick layers and liquidations too")
    parser.add_argument("--select", nargs="+", default=[], help="models to build, as dbt's")
    parser.add_argument(
        "--reuse", action="store_true", help="use the lake that stands, and leave everything"
    )
    given = parser.parse_args()
    record: dict[str, Any] = {
        "machine": machine(),
        "memory_limit": given.memory_limit,
        "what": "with ticks and liquidations" if given.ticks else "without ticks",
        "select": given.select,
        "sizes": {},
    }
    for size in given.sizes:
        name = f"{size[0]}x{size[1]}"
        folder = given.folder.absolute() / name
        if not given.reuse:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        record["sizes"][name] = measure(size, given, folder)
        given.json.write_text(json.dumps(record, indent=1) + "\n")
        if not given.reuse:
            shutil.rmtree(folder)
    print(text_of(record))
    builds = [b for s in record["sizes"].values() for b in s["builds"].values()]
    sys.exit(1 if any(b["failed"] or b["exit_code"] for b in builds) else 0)


if __name__ == "__main__":
    main()
