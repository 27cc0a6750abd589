"""The sandbox from end to end: simulate, serve, ingest, build, query."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import duckdb

from ingest.config import PROJECT_ROOT, Config
from ingest.datasets import own_files
from ingest.dbt import run_dbt
from ingest.lake import Lake
from ingest.progress import duration, size
from ingest.run import Options, Summary, ingest_archive
from ingest.sandbox import live
from ingest.sandbox.archive import build_archive, publish_january
from ingest.sandbox.rest import RestServer, running_clock
from ingest.sandbox.scenario import (
    END,
    FLAWS,
    LIVE_END,
    LIVE_START,
    START,
    SYMBOLS,
    live_markets,
    midnight,
)
from ingest.sandbox.server import ArchiveServer
from ingest.sandbox.stream import ReplayClock, StreamServer, market_feed
from ingest.sandbox.tardis import TardisServer
from ingest.warehouse import memory_limit, opened

EXAMPLES = ("carry_and_basis", "who_moved_the_price", "why_is_it_missing")


def serve_until_interrupted(folder: Path) -> int:
    """Serve all of the simulated exchange and its vendor; returns when the user stops it."""
    build_archive(folder / "archive")
    markets = live_markets()
    feed = market_feed(markets.values(), LIVE_START, midnight(LIVE_END) + timedelta(days=1))
    with (
        ArchiveServer(folder / "archive") as archive,
        RestServer(markets, now=running_clock(LIVE_START)) as rest,
        StreamServer(feed, clock=ReplayClock(LIVE_START)) as stream,
        TardisServer(markets) as tardis,
    ):
        print(f"export PERP_ARCHIVE_URL={archive.archive_url}")
        print(f"export PERP_ARCHIVE_LISTING_URL={archive.listing_url}")
        print(f"export PERP_API_URL={rest.api_url}")
        print(f"export PERP_STREAM_URL={stream.url}")
        print(f"export PERP_TARDIS_URL={tardis.url}")
        print(f"# symbols {','.join(SYMBOLS)}; the archive has {START} to {END}")
        print(f"# the API's clock began at {LIVE_START} UTC; Ctrl-C stops it", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return 0


def build_warehouse(config: Config, folder: Path) -> int:
    """Build lake and warehouse from the simulated archive; returns an exit code."""
    started = time.monotonic()
    _say("1  The exchange: a simulated market, written as an archive with realistic flaws")
    archive = build_archive(folder / "archive")
    for flaw in FLAWS:
        print(f"     {flaw.name}: {flaw.text}")
    print(f"   {archive.files} zips, {size(archive.bytes)}, in {folder / 'archive'}")

    if not Lake(config.lake).exists:
        publish_january(folder / "archive", corrected=False)
    with ArchiveServer(folder / "archive") as server:
        local = replace(config, archive_url=server.archive_url, listing_url=server.listing_url)
        _say("2  Ingest: list, download, verify, decode, land")
        _report(_ingest(local))
        key = publish_january(folder / "archive", corrected=True)
        _say(f"3  Upstream replaces {key}; ingest again")
        _report(_ingest(local))

    _say("4  The live sources: the API, a vendor, somebody's capture, the recorded stream")
    _live(config, folder)

    _say("5  dbt build: models and tests")
    for arguments in (("build",), ("compile", "--select", "resource_type:analysis")):
        if code := run_dbt(config, "--quiet", *arguments):
            return code
    _say("6  What stands in the warehouse")
    with opened(config.warehouse, memory_limit()) as warehouse:
        _show_tables(warehouse)
        compiled = PROJECT_ROOT / "target/compiled/perp_warehouse/dbt_project/analyses"
        for number, name in enumerate(EXAMPLES, start=1):
            query = (compiled / f"{name}.sql").read_text()
            _say(f"Example {number}: dbt_project/analyses/{name}.sql")
            print(_comment(query))
            warehouse.sql(query).show(max_width=140, max_rows=30)
    used = resource.getrusage
    peak = max(used(resource.RUSAGE_SELF).ru_maxrss, used(resource.RUSAGE_CHILDREN).ru_maxrss)
    _say(
        f"Done in {duration(time.monotonic() - started)}; the largest process used "
        f"{size(peak * 1024)}"
    )
    print(f"   lake: {config.lake}    warehouse: {config.warehouse}")
    print("   next: perp status    dbt build    make docs    or SQL over the warehouse file")
    return 0


def _live(config: Config, folder: Path) -> None:
    markets = live_markets()
    pulled = live.pull(config, markets)
    print(
        f"   API: {pulled.requests} requests, {pulled.partitions['landed']} partitions landed; the "
        f"clock of the exchange stands at {LIVE_START}"
    )
    for name, bought in zip(("liquidations", "tickers"), live.buy(config, markets), strict=True):
        print(
            f"   Tardis {name}: {bought.files['landed']} day files, {bought.rows:,} rows; "
            f"{bought.files['absent_upstream']} absent upstream"
        )
    captured = live.capture(config, markets, folder / "captures")
    print(f"   Capture: {captured.new:,} liquidations, {live.hours(captured.covered):.1f} hours")
    recorded = live.record(config, markets)
    print(
        f"   Stream: {recorded.new:,} liquidations over {recorded.connections} connections, "
        f"{live.hours(recorded.covered):.1f} simulated hours covered"
    )


def _ingest(config: Config) -> Summary:
    _, summary = ingest_archive(config, own_files(), list(SYMBOLS), START, END, Options())
    return summary


def _report(summary: Summary) -> None:
    counts = summary.partitions
    print(
        f"   {counts['landed']} partitions landed, {summary.up_to_date} up to date, "
        f"{counts['absent_upstream']} absent upstream, {summary.files['quarantined']} files "
        f"quarantined; {size(summary.bytes)} in {duration(summary.seconds)}"
    )


def _show_tables(warehouse: duckdb.DuckDBPyConnection) -> None:
    def one(query: str, *parameters: str) -> tuple[int, ...]:
        return tuple(int(x or 0) for x in warehouse.execute(query, parameters).fetchall()[0])

    hours, symbols = one("select count(*), count(distinct symbol) from final_dataset")
    columns = len(warehouse.sql("select * from final_dataset limit 0").columns)
    print(f"   final_dataset: {hours:,} hours of {symbols} symbols, {columns} columns")
    (missing,) = one("select count(*) from gaps")
    print(f"   gaps: {missing:,} missing intervals, each with a reason")
    for check, what in (
        ("minutes_against_hours", "minute bars equal the exchange's own 1h bars"),
        ("ticks_against_minutes", "ticks equal the minute bars"),
        ("archive_against_api", "the archive equals the API"),
    ):
        equal, compared = one(
            "select sum(n_hours_equal), sum(n_hours_compared) from reconciliation_summary "
            "where check_name = ?",
            check,
        )
        print(f"   reconciliation: in {equal:,} of {compared:,} hours {what}")
    files, bad = one(
        "select count(*), sum(case when outcome = 'quarantined' then 1 else 0 end) "
        "from landing_files where is_current"
    )
    print(f"   landing_files: {files:,} upstream files on record, {bad} of them quarantined")


def _comment(query: str) -> str:
    lines = [line[3:] for line in query.splitlines() if line.startswith("-- ")]
    return "   " + " ".join(lines)


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)
    sys.stderr.flush()
