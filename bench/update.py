"""What a day costs: `perp update` of many contracts, step by step.

    python -m bench.update --symbols 90 --days 70 --folder DIR --json FILE

A process of its own serves the sandbox exchange on loopback, with its real request limits. The real
`perp update` then runs three times: for the history, after the exchange's clock has moved a day on,
and again with nothing new. Its clock alone is ours: it takes the exchange's day for today.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from ingest.config import PROJECT_ROOT
from ingest.sandbox.archive import build_archive
from ingest.sandbox.market import Contract, Market, epoch_ms
from ingest.sandbox.rest import RestServer
from ingest.sandbox.scenario import END, LIVE_END, START, contracts, simulated
from ingest.sandbox.server import ArchiveServer

CLOCK = timedelta(hours=6, minutes=40)  # later than a settlement of the hour may appear
SLOWEST = 10
_PERIOD = re.compile(rb"-(\d{4}-\d{2}(?:-\d{2})?)\.zip")
_RUNS = ("history", "a day on", "nothing new")


# ----------------------------------------------------------------------------------- the exchange
class _Growing(ArchiveServer):
    """An archive that shows what was published of some days."""

    def show(self, first: date, last: date) -> None:
        """Show the months from that of the first day on, and the days up to the last."""
        self.refresh()
        months = f"{first:%Y-%m}".encode(), f"{last + timedelta(days=1):%Y-%m}".encode()
        days = str(first.replace(day=1)).encode(), str(last).encode()
        self._keys = [
            key
            for key in self.keys()
            if (found := _PERIOD.search(key))
            and (
                months[0] <= found[1] < months[1]
                if len(found[1]) == 7
                else days[0] <= found[1] <= days[1]
            )
        ]


def serve(folder: Path, symbols: int, days: int) -> None:
    """Serve until stdin ends; every line is a day to show the archive up to.

    Prints a line of addresses, then one per day with the requests since the last.
    """
    chosen = contracts(symbols)
    build_archive(folder / "archive", contracts=chosen)
    with ProcessPoolExecutor(2) as pool:
        markets = dict(zip((c.symbol for c in chosen), pool.map(_live, chosen), strict=True))
    now = [0]
    with (
        _Growing(folder / "archive") as archive,
        RestServer(markets, now=lambda: now[0]) as rest,
    ):
        _say({
            "PERP_ARCHIVE_URL": archive.archive_url,
            "PERP_ARCHIVE_LISTING_URL": archive.listing_url,
            "PERP_API_URL": rest.api_url,
        })  # fmt: skip
        for line in sys.stdin:
            asked: Counter[str] = Counter()
            for server, name in ((archive, "archive"), (rest, "api")):
                with server.lock:
                    asked[name] = len(server.requests)
                    server.requests.clear()
            last = date.fromisoformat(line.strip())
            archive.show(END - timedelta(days=days - 1), last)
            midnight = datetime.combine(last + timedelta(days=1), datetime.min.time())
            now[0] = epoch_ms(midnight + CLOCK)
            _say(asked)


def _live(contract: Contract) -> Market:
    """The market without its tape, which the API does not need of closed bars."""
    market = simulated(contract, LIVE_END)
    recent = market.tape.times >= epoch_ms(datetime.combine(END, datetime.min.time()))
    tape = {name: values[recent] for name, values in vars(market.tape).items()}
    return replace(market, tape=replace(market.tape, **tape))


def _say(facts: object) -> None:
    print(json.dumps(facts), flush=True)


# ------------------------------------------------------------------------------------- the update
def update(today: date, result: Path, arguments: Sequence[str]) -> None:
    """`perp ARGUMENTS` on a given day; writes what its steps came to."""
    import ingest.partition

    ingest.partition.utc_today = lambda: today  # before others take it from there

    from ingest import cli_publish
    from ingest.cli import main as perp

    real = cli_publish.bring_up_to_date

    def recorded(*args: Any, **options: Any) -> Any:
        steps = real(*args, **options)
        result.write_text(json.dumps([asdict(step) for step in steps]))
        return steps

    cli_publish.bring_up_to_date = recorded
    sys.argv = ["perp", *arguments]
    perp()


class _Peak(threading.Thread):
    """Watches the processes below one for the largest dbt."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root, self.kilobytes = root, 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.5):
            for process in _below(self.root):
                with contextlib.suppress(OSError):
                    if b"dbt\0" in (process / "cmdline").read_bytes():
                        held = re.search(r"VmHWM:\s+(\d+)", (process / "status").read_text())
                        self.kilobytes = max(self.kilobytes, int(held[1]) if held else 0)


def _below(root: int) -> Iterator[Path]:
    """Processes that descend from one."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(path.read_text().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    waiting = [root]
    while waiting:
        for child in children.get(waiting.pop(), []):
            waiting.append(child)
            yield Path("/proc") / str(child)


def run(
    name: str, today: date, folder: Path, environment: dict[str, str], symbols: Sequence[str]
) -> dict[str, Any]:
    """One update: what every step took, and what the build did."""
    result, built = folder / "steps.json", folder / "target" / "run_results.json"
    result.unlink(missing_ok=True)
    built.unlink(missing_ok=True)
    command = [sys.executable, "-m", "bench.update", "--today", str(today), "--json", str(result)]
    begun = time.monotonic()
    with subprocess.Popen(
        [*command, "--", "update", "--symbols", ",".join(symbols)],
        cwd=PROJECT_ROOT,
        env=environment,
    ) as process:
        peak = _Peak(process.pid)
        peak.start()
        code = process.wait()
        peak.ended.set()
        peak.join()
    steps = json.loads(result.read_text()) if result.exists() else []
    for step in steps:
        step.update(_counts(step["text"]))
    return {
        "run": name, "exit_code": code, "seconds": time.monotonic() - begun, "steps": steps,
        "dbt_peak_bytes": peak.kilobytes * 1024, "slowest": _slowest(built),
    }  # fmt: skip


def _counts(text: str) -> dict[str, int]:
    """Numbers of a step's summary: partitions, requests, seconds of waiting for limits."""
    patterns = {
        "landed": r"([\d,]+) partitions landed",
        "requests": r"([\d,]+) requests",
        "waited": r"\(([\d,]+) s waiting",
    }
    found = {name: re.search(pattern, text) for name, pattern in patterns.items()}
    return {name: int(m[1].replace(",", "")) for name, m in found.items() if m}


def _slowest(run_results: Path) -> list[tuple[str, float]]:
    """Models that took longest, with their seconds; empty if dbt did not run."""
    if not run_results.exists():
        return []
    results = json.loads(run_results.read_text())["results"]
    models = [
        (r["unique_id"].split(".")[-1], r["execution_time"])
        for r in results
        if r["unique_id"].startswith("model.")
    ]
    return sorted(models, key=lambda m: -m[1])[:SLOWEST]


# --------------------------------------------------------------------------------- the whole story
def machine() -> dict[str, Any]:
    """What the figures belong to."""
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu[1] if cpu else platform.machine(), "cores": os.cpu_count(),
        "memory_bytes": memory, "system": platform.platform(),
        "python": platform.python_version(), "load": os.getloadavg()[0],
    }  # fmt: skip


def measure(folder: Path, n_symbols: int, days: int) -> dict[str, Any]:
    """Serve, and update three times."""
    folder.mkdir(parents=True, exist_ok=True)
    lake = folder / "lake"
    if lake.exists():
        raise SystemExit(f"{lake} is there already: the first update must begin with nothing")
    symbols = [c.symbol for c in contracts(n_symbols)]
    command = [sys.executable, "-m", "bench.update", "--serve", "--folder", str(folder),
               "--symbols", str(n_symbols), "--days", str(days)]  # fmt: skip
    story: dict[str, Any] = {
        "symbols": n_symbols, "days": days, "machine": machine(), "runs": [],
    }  # fmt: skip
    with subprocess.Popen(
        command, cwd=PROJECT_ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin
        assert server.stdout
        try:
            environment = {
                **os.environ, **json.loads(server.stdout.readline()),
                "PERP_LAKE": str(lake), "PERP_WAREHOUSE": str(folder / "warehouse.duckdb"),
                "PERP_PUBLISHED": str(folder / "published"), "PERP_LOGS": str(folder / "logs"),
                "DBT_TARGET_PATH": str(folder / "target"), "DBT_LOG_PATH": str(folder / "logs"),
            }  # fmt: skip
            for name in _RUNS:
                last = END - timedelta(days=name == "history")
                _ask(server.stdin, server.stdout, last)
                if name == "history":
                    _begin(END - timedelta(days=days - 1), symbols, environment)
                    _ask(server.stdin, server.stdout, last)  # what it has asked does not count
                done = run(name, last + timedelta(days=1), folder, environment, symbols)
                done["asked"] = _ask(server.stdin, server.stdout, last)
                story["runs"].append(done)
        finally:
            server.stdin.close()
            server.wait()
    return story


def _ask(stdin: TextIO, stdout: TextIO, last: date) -> Any:
    stdin.write(f"{last}\n")
    stdin.flush()
    return json.loads(stdout.readline())


def _begin(first: date, symbols: Sequence[str], environment: dict[str, str]) -> None:
    """Land the first month of one dataset: an update goes on from where a lake begins.

    And it takes no name that neither the universe nor the lake has, as two of the exchange's are.
    A file that is bad on purpose is no reason to stop.
    """
    perp = [str(Path(sys.executable).with_name("perp")), "ingest", "archive"]
    day = str(first.replace(day=1))
    subprocess.run(
        [*perp, "--symbols", ",".join(symbols), "--datasets", "klines_1h",
         "--start", day, "--end", day],
        cwd=PROJECT_ROOT, env=environment, check=False, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def show(story: dict[str, Any]) -> None:
    """Print a table of the runs, then the slowest models of the day's build."""
    about = story["machine"]
    print(
        f"{story['symbols']} contracts, {story['days']} days; {about['cores']} cores of "
        f"{about['cpu']}, {about['memory_bytes'] / 1e9:.0f} GB"
    )
    print(
        f"{'run':12}{'exit':>5}{'archive':>10}{'api':>9}{'waiting':>9}{'build':>9}{'publish':>9}"
        f"{'all':>9}{'landed':>8}{'asked':>16}{'dbt GB':>8}"
    )
    for done in story["runs"]:
        steps = {step["name"]: step for step in done["steps"]}
        seconds = {name: step["seconds"] for name, step in steps.items()}
        print(
            f"{done['run']:12}{done['exit_code']:5}{seconds.get('archive', 0):8.1f} s"
            f"{seconds.get('api', 0):7.1f} s{steps.get('api', {}).get('waited', 0):7} s"
            f"{seconds.get('build', 0):7.1f} s{seconds.get('publish', 0):7.1f} s"
            f"{done['seconds']:7.1f} s{sum(s.get('landed', 0) for s in steps.values()):8,}"
            f"{done['asked']['archive']:8,} +{done['asked']['api']:6,}"
            f"{done['dbt_peak_bytes'] / 1e9:8.2f}"
        )
    print("asked: requests to the archive + to the API. The slowest models of the day's build:")
    for name, seconds in story["runs"][1]["slowest"]:
        print(f"{seconds:8.1f} s  {name}")


def main() -> None:
    """Measure, or be the exchange, or be one update."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=90)
    parser.add_argument("--days", type=int, default=70, help="the last is the day that comes later")
    parser.add_argument("--folder", type=Path, help="where all of it goes")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--today", type=date.fromisoformat, help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.today:
        update(given.today, given.json, given.arguments)
        return
    if not 2 <= given.days <= (END - START).days + 1 or not given.folder:
        parser.error(f"--folder is needed, and --days from 2 to {(END - START).days + 1}")
    if given.serve:
        serve(given.folder, given.symbols, given.days)
        return
    story = measure(given.folder.resolve(), given.symbols, given.days)
    if given.json:
        given.json.write_text(json.dumps(story, indent=1, ensure_ascii=False) + "\n")
    show(story)


if __name__ == "__main__":
    main()
