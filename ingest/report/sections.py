"""The sections of the report but for the factors. Each is aggregated in DuckDB and small."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from ingest.report.reader import Reader, Section, moment, short, table
from ingest.warehouse import quoted

UNLISTED = ("before_listing", "after_delisting")
REASONS = (*UNLISTED, "absent_upstream", "not_ingested", "quarantined", "failed")
GAPS_PER_REASON = 300
FILES_SHOWN = 1_000
DIFFERENCES_PER_CHECK = 50

PANELS = (  # one symbol: title, unit, format of its numbers (d3), column -> name of the line
    ("Price", "quote currency", ",.6~r", {"close": "close"}),
    ("Funding rate", "% per interval", ".4f", {"funding_rate": "funding, %"}),
    ("Basis, last price over index", "%", ".4f", {"triad_basis": "basis, %"}),
    ("Open interest", "USDT", ",.0f", {"oi_open_interest_usd": "open interest, USDT"}),
    ("Cumulative volume delta", "USDT since the first hour", ",.0f", {"cvd_quote": "CVD, USDT"}),
    (
        "Liquidations",
        "USDT per hour: of shorts above zero, of longs below",
        ",.0f",
        {"long_liq_volume": "longs, USDT", "short_liq_volume": "shorts, USDT"},
    ),
)
FACTORS = {"funding_rate": "100 * {}", "triad_basis": "100 * {}", "long_liq_volume": "-{}"}


def headline(reader: Reader) -> Section:
    """What there is, in a few numbers."""
    facts: Section = {}
    if not reader.lacks("final_dataset", "symbol", "hour_ts"):
        symbols, hours, first, last = reader.one(
            """
            select count(distinct symbol), count(*), min(hour_ts), max(hour_ts)
            from final_dataset where hour_ts >= :from_ts and hour_ts < :to_ts
            """
        )
        facts |= {"symbols": symbols, "hours": hours, "first": moment(first)}
        facts["end"] = moment(last and last + timedelta(hours=1))
        facts["columns"] = len(reader.columns["final_dataset"])
    if not reader.lacks("landing_log", "is_current", "parquet_bytes", "landed_at"):
        facts["lake_bytes"], landed_at = reader.one(
            "select sum(parquet_bytes) filter (where is_current), max(landed_at) from landing_log"
        )
        facts["landed_at"] = moment(landed_at)
    if not reader.lacks("gaps", "reason"):
        facts["gaps"] = reader.one(
            f"""
            select count(*) from gaps
            where reason not in {UNLISTED} and gap_start < :to_ts and gap_end > :from_ts
            """  # noqa: S608 (constants)
        )[0]
    return facts


def builds(reader: Reader) -> Section:
    """The last runs of dbt, newest first."""
    columns = ("started_at", "ended_at", "command", "is_whole", "n_models", "n_tests", "n_errors")
    lacking = reader.lacks("build_log", *columns, "n_warnings", "n_skipped")
    if lacking:
        return {"lacking": lacking}
    rows = reader.rows(
        """
        select started_at, ended_at, command, is_whole, n_models, n_tests, n_errors, n_warnings,
            n_skipped
        from build_log order by ended_at desc nulls last limit 20
        """
    )
    if not rows:
        return {"lacking": "No build is on record yet."}
    cells = [
        [
            moment(r[0]),
            (r[1] - r[0]).total_seconds() / 60,
            r[2],
            "all" if r[3] else "a part",
            *r[4:],
        ]
        for r in rows
    ]
    heads = (
        ("Started, UTC", "time", "When dbt began"),
        ("Minutes", "number", "How long it took"),
        ("Command", "code", "What was asked of dbt"),
        ("Scope", "text", "All models and tests, or a selection of them"),
        ("Models", "count", "Models and seeds built"),
        ("Tests", "count", "Tests run"),
        ("Errors", "count", "Models that failed to build and tests that failed"),
        ("Warnings", "count", "Tests that failed with severity warn"),
        ("Skipped", "count", "Not run because something before it failed"),
    )
    newest = dict(zip([h[0] for h in heads], cells[0], strict=True))
    return {"table": table(heads, cells), "newest": newest, "ended": moment(rows[0][1])}


def coverage(reader: Reader) -> Section:
    """Per dataset, symbol and month: slots expected, present, and missing by reason."""
    columns = [f"n_{reason}" for reason in REASONS]
    lacking = reader.lacks("coverage", "dataset", "slot", "n_expected", "n_present", *columns)
    if lacking:
        return {"lacking": lacking}
    rows = reader.rows(
        f"""
        select dataset, slot, symbol, month, n_expected, n_present, {", ".join(columns)}
        from coverage
        where month >= strftime(:from_ts, '%Y-%m')
            and month <= strftime(:to_ts - interval 1 microsecond, '%Y-%m')
        order by dataset, symbol, month
        """  # noqa: S608 (constants)
    )
    rows += _liquidation_feeds(reader)
    if not rows:
        return {"lacking": "The table coverage has no rows in this range."}
    symbols = sorted({r[2] for r in rows})
    months = sorted({r[3] for r in rows})
    row_of = {symbol: i for i, symbol in enumerate(symbols)}
    column_of = {month: i for i, month in enumerate(months)}
    datasets: dict[str, Section] = {}
    for dataset, slot, symbol, month, expected, present, *missing in rows:
        empty = {"slot": slot, "expected": [None] * len(symbols) * len(months), "missing": {}}
        matrix = datasets.setdefault(dataset, empty | {"present": list(empty["expected"])})
        cell = row_of[symbol] * len(months) + column_of[month]
        matrix["expected"][cell], matrix["present"][cell] = expected, present
        if any(missing):
            matrix["missing"][cell] = missing
    return {
        "symbols": symbols,
        "months": months,
        "reasons": [*REASONS, "feed_not_recorded"],
        "datasets": datasets,
    }


def _liquidation_feeds(reader: Reader) -> list[tuple[Any, ...]]:
    """Liquidations of all sources together have no file of their own: their hours are counted."""
    if reader.lacks("liq_feed_coverage", "symbol", "hour_ts", "ok"):
        return []
    nothing = ", ".join("0" for _ in REASONS)
    return reader.rows(
        f"""
        select 'liquidations' as dataset, 'hour' as slot, symbol,
            strftime(hour_ts, '%Y-%m') as month, count(*) as n_expected,
            count(*) filter (where ok) as n_present, {nothing}, count(*) filter (where not ok)
        from liq_feed_coverage
        where hour_ts >= :from_ts and hour_ts < :to_ts
        group by symbol, strftime(hour_ts, '%Y-%m')
        order by symbol, month
        """  # noqa: S608 (constants)
    )


def gaps(reader: Reader) -> Section:
    """Missing intervals: all of them in sums by reason, the longest of each reason one by one."""
    lacking = reader.lacks("gaps", "dataset", "symbol", "gap_start", "gap_end", "reason", "hours")
    if lacking:
        return {"lacking": lacking}
    inside = "gap_start < :to_ts and gap_end > :from_ts"
    sums = reader.rows(
        f"""
        select reason, dataset, count(*), count(distinct symbol), sum(hours), max(hours),
            sum(n_slots), any_value(slot)
        from gaps where {inside} group by reason, dataset order by sum(hours) desc, dataset
        """  # noqa: S608 (constants)
    )
    if not sums:
        return {"lacking": "The table gaps has no rows in this range: nothing is missing."}
    longest = reader.rows(
        f"""
        with ranked as (
            select *, row_number() over (
                partition by reason order by hours desc, n_slots desc nulls last, dataset, symbol,
                    gap_start
            ) as place
            from gaps where {inside}
        )
        select reason, dataset, symbol, gap_start, gap_end, hours, n_slots, slot
        from ranked where place <= {GAPS_PER_REASON} order by hours desc, symbol, dataset
        """  # noqa: S608 (constants)
    )
    total = sum(r[2] for r in sums)
    rest = total - len(longest)
    by_reason = table(
        (
            ("Reason", "code", "Why the slots are missing"),
            ("Dataset", "code", "Dataset of the lake"),
            ("Gaps", "count", "Intervals"),
            ("Symbols", "count", "Symbols that have such a gap"),
            ("Hours", "hours", "Their lengths added up"),
            ("Longest, hours", "hours", "Length of the longest one"),
            ("Slots", "count", "Slots missing; empty where their number cannot be known"),
            ("Slot", "text", "What is counted"),
        ),
        sums,
        sort=[4, "down"],
        choose=[0, 1],
    )
    note = f"{total:,} gaps in all. "
    note += (
        f"Shown are the {GAPS_PER_REASON} longest of each reason; {rest:,} shorter ones are in the "
        "table gaps."
        if rest
        else "All of them are shown."
    )
    ledger = table(
        (
            ("Reason", "code", "Why it is missing"),
            ("Dataset", "code", "Dataset of the lake"),
            ("Symbol", "code", "Contract"),
            ("From, UTC", "time", "First missing moment"),
            ("To, UTC", "time", "First moment after the gap"),
            ("Hours", "hours", "Length of the interval"),
            ("Slots", "count", "Slots missing; empty where their number cannot be known"),
            ("Slot", "text", "What is counted"),
        ),
        ([*r[:3], moment(r[3]), moment(r[4]), *r[5:]] for r in longest),
        sort=[5, "down"],
        choose=[0, 1],
        note=note,
    )
    return {"by_reason": by_reason, "ledger": ledger, "total": total}


def landing(reader: Reader) -> Section:
    """Upstream files that were refused or could not be fetched, in the newest attempt at each."""
    source = ("log_seq", "source", "dataset", "symbol", "month", "landed_at", "is_current", "error")
    lacking = reader.lacks("landing_log", *source, "status")
    if lacking:
        return {"lacking": lacking}
    counts = reader.rows(
        """
        select source, dataset, count(*) filter (where is_current),
            count(*) filter (where is_current and status = 'landed'),
            count(*) filter (where is_current and status = 'absent_upstream'),
            count(*) filter (where is_current and status = 'quarantined'),
            count(*) filter (where is_current and status = 'failed'),
            count(*) filter (where not is_current),
            sum(parquet_bytes) filter (where is_current), max(landed_at)
        from landing_log group by source, dataset order by source, dataset
        """
    )
    if not counts:
        return {"lacking": "Nothing has landed yet. Start with: perp ingest archive"}
    # Partitions that went wrong as a whole name no file.
    query = """
        select status as outcome, source, dataset, symbol, month as period, landed_at, error,
            null as url
        from landing_log where is_current and status in ('quarantined', 'failed')
        """
    if not reader.lacks("landing_files", *source, "outcome", "period", "url"):
        query = f"""
            select outcome, source, dataset, symbol, period, landed_at, error, url
            from landing_files where is_current and outcome in ('quarantined', 'failed')
            union all
            {query} and not exists (
                select 1 from landing_files
                where landing_files.log_seq = landing_log.log_seq
                    and landing_files.outcome in ('quarantined', 'failed')
            )
            """  # noqa: S608 (constants)
    total = reader.one(f"select count(*) from ({query})")[0]  # noqa: S608
    files = reader.rows(f"{query} order by landed_at desc, symbol, period limit {FILES_SHOWN}")
    note = f"{total:,} files in all. " + (
        f"Shown are the newest {FILES_SHOWN:,}; the others are in the table landing_files."
        if total > FILES_SHOWN
        else "All of them are shown."
    )
    trouble = table(
        (
            ("Outcome", "code", "quarantined: refused; failed: could not be fetched"),
            ("Source", "code", "Where it was asked for"),
            ("Dataset", "code", "Dataset of the lake"),
            ("Symbol", "code", "Contract"),
            ("Period", "code", "Month or day of the file"),
            ("Logged, UTC", "time", "When the attempt ended"),
            ("What went wrong", "text", "As the landing log has it"),
            ("Address", "code", "Address of the file"),
        ),
        ([*r[:5], moment(r[5]), *r[6:]] for r in files),
        sort=[5, "down"],
        choose=[0, 2],
        note=note,
    )
    summary = table(
        (
            ("Source", "code", "Where the data came from"),
            ("Dataset", "code", "Dataset of the lake"),
            ("Partitions", "count", "Symbols x months on record"),
            ("Landed", "count", "Partitions that the lake holds"),
            ("Absent upstream", "count", "Upstream has no such file"),
            ("Quarantined", "count", "All files of the partition were refused"),
            ("Failed", "count", "The partition could not be fetched"),
            ("Earlier attempts", "count", "Attempts that a newer one has replaced"),
            ("Size", "bytes", "Parquet files in the lake"),
            ("Last landing, UTC", "time", "Newest attempt"),
        ),
        ([*r[:9], moment(r[9])] for r in counts),
    )
    return {"trouble": trouble, "summary": summary, "total": total}


def reconciliation(reader: Reader) -> Section:
    """How much was compared, where sources disagree and why, and the largest differences."""
    lacking = reader.lacks("reconciliation", "check_name", "dataset_a", "dataset_b", "cause")
    if lacking:
        return {"lacking": lacking}
    section: Section = {}
    if not reader.lacks("reconciliation_summary", "check_name", "n_hours_compared"):
        section["compared"] = _compared(reader)
    causes = reader.rows(
        """
        select check_name, dataset_a, dataset_b, cause, count(*), count(distinct symbol),
            max(relative_difference), min(ts), max(ts)
        from reconciliation where ts >= :from_ts and ts < :to_ts
        group by check_name, dataset_a, dataset_b, cause order by count(*) desc, check_name, cause
        """
    )
    section["causes"] = table(
        (
            ("Check", "code", "Which kinds of sources are compared"),
            ("First", "code", "First dataset"),
            ("Second", "code", "Second dataset"),
            ("Cause", "code", "Why they differ, as far as it is known"),
            ("Differences", "count", "Fields of hours that differ"),
            ("Symbols", "count", "Symbols in which they do"),
            ("Largest, relative", "share", "Difference over the larger magnitude"),
            ("From day", "time", "Day of the earliest difference, UTC"),
            ("To day", "time", "Day of the latest difference, UTC"),
        ),
        ([*r[:6], short(r[6]), *(str(t)[:10] for t in r[7:])] for r in causes),
        sort=[4, "down"],
        choose=[0],
    )
    largest = reader.rows(
        f"""
        with ranked as (
            select *, row_number() over (
                partition by check_name
                order by relative_difference desc nulls last, ts desc, symbol, field
            ) as place
            from reconciliation where ts >= :from_ts and ts < :to_ts
        )
        select check_name, dataset_a, dataset_b, symbol, ts, field, value_a, value_b,
            relative_difference, cause, detail
        from ranked where place <= {DIFFERENCES_PER_CHECK}
        order by relative_difference desc nulls last, ts desc, symbol, field
        """  # noqa: S608 (constants)
    )
    total = sum(r[4] for r in causes)
    note = f"{total:,} differences in all. " + (
        f"Shown are the {DIFFERENCES_PER_CHECK} largest of each check; the others are in the table "
        "reconciliation."
        if total > len(largest)
        else "All of them are shown."
    )
    section["total"] = total
    section["largest"] = table(
        (
            ("Check", "code", "Which kinds of sources are compared"),
            ("First", "code", "First dataset"),
            ("Second", "code", "Second dataset"),
            ("Symbol", "code", "Contract"),
            ("Time, UTC", "time", "Hour, settlement or label"),
            ("Field", "code", "What differs"),
            ("First value", "number", "In the unit of the field"),
            ("Second value", "number", "In the unit of the field"),
            ("Relative", "share", "Difference over the larger magnitude"),
            ("Cause", "code", "Why they differ, as far as it is known"),
            ("Detail", "text", "Of a file that was replaced upstream: which, and both editions"),
        ),
        ([*r[:4], moment(r[4]), r[5], *map(short, r[6:9]), *r[9:]] for r in largest),
        sort=[8, "down"],
        choose=[0, 9],
        note=note,
    )
    return section


def _compared(reader: Reader) -> Section:
    rows = reader.rows(
        """
        select check_name, dataset, count(distinct symbol), sum(n_hours_compared),
            sum(n_hours_equal) / nullif(sum(n_hours_compared), 0),
            sum(n_hours_different), sum(n_hours_only_in_a), sum(n_hours_only_in_b),
            max(max_relative_difference)
        from reconciliation_summary
        where month >= strftime(:from_ts, '%Y-%m')
            and month <= strftime(:to_ts - interval 1 microsecond, '%Y-%m')
        group by check_name, dataset order by check_name, dataset
        """
    )
    return table(
        (
            ("Check", "code", "Which kinds of sources are compared"),
            ("Dataset", "code", "Bars that are compared, or the first of the two sources"),
            ("Symbols", "count", "Symbols compared"),
            ("Hours", "count", "Symbol hours that both sources have"),
            ("Equal", "share", "Hours that agree in every field"),
            ("Different", "count", "Hours that differ in a field"),
            ("Only first", "count", "Hours that the second source lacks"),
            ("Only second", "count", "Hours that the first source lacks"),
            ("Largest, relative", "share", "Largest relative difference of any field"),
        ),
        ([*r[:4], short(r[4]), *r[5:8], short(r[8])] for r in rows),
        choose=[0],
    )


def one_symbol(reader: Reader, wanted: str | None) -> Section:
    """Hourly lines of one symbol on the whole grid of hours: what is missing is None.

    Args:
        reader: the warehouse.
        wanted: the symbol; without it BTCUSDT, or else the one with the most hours.
    """
    lacking = reader.lacks("final_dataset", "symbol", "hour_ts")
    if lacking:
        return {"lacking": lacking}
    found = reader.rows(
        """
        select symbol, min(hour_ts), max(hour_ts) from final_dataset
        where hour_ts >= :from_ts and hour_ts < :to_ts and symbol = coalesce(?, symbol)
        group by symbol order by symbol = 'BTCUSDT' desc, count(*) desc, symbol limit 1
        """,
        wanted,
    )
    if not found:
        of_it = f" of {wanted}" if wanted else ""
        return {"lacking": f"The table final_dataset has no hours{of_it} in this range."}
    symbol, first, last = found[0]
    known = reader.columns["final_dataset"]
    columns = [c for *_, lines in PANELS for c in lines if c in known]
    if "has_bar" in known:
        columns.append("has_bar")
    expressions = [FACTORS.get(c, "{}").format(quoted(c)) for c in columns]
    rows = reader.rows(
        f"""
        with hours as (
            select unnest(generate_series(cast(? as timestamp), cast(? as timestamp),
                interval 1 hour)) as hour_ts
        ),
        held as (select * from final_dataset where symbol = ?)
        select hour_ts {"".join(f", {e}" for e in expressions)}
        from hours left join held using (hour_ts) order by hour_ts
        """,  # noqa: S608 (quoted names)
        first,
        last,
        symbol,
    )
    lines = dict(zip(columns, list(zip(*rows, strict=True))[1:], strict=True))
    if "cvd_quote" in lines:
        lines["cvd_quote"] = _running_sum(lines["cvd_quote"])
    panels = [
        {
            "title": title,
            "unit": unit,
            "format": digits,
            "lines": [
                {"name": name, "values": _short(lines[column])}
                for column, name in of_panel.items()
                if column in lines
            ],
        }
        for title, unit, digits, of_panel in PANELS
    ]
    return {
        "symbol": symbol,
        "first": first.isoformat(),
        "hours": len(rows),
        "panels": [p for p in panels if p["lines"]],
        "absent": [p["title"] for p in panels if not p["lines"]],
        "no_bar": [i for i, has in enumerate(lines.get("has_bar", ())) if not has],
    }


def _running_sum(values: tuple[float | None, ...]) -> tuple[float | None, ...]:
    total, sums = 0.0, []
    for value in values:
        total += value or 0.0
        sums.append(None if value is None else total)
    return tuple(sums)


def _short(values: Iterable[float | None]) -> list[float | None]:
    return [short(v) for v in values]


def evaluation(reader: Reader) -> Section:
    """Rank correlation of each factor with later returns, if the table was built.

    The t value is that of the mean over all hours; returns of h hours overlap from row to row, so
    that one hour in h counts as an observation.
    """
    lacking = reader.lacks("factor_ic", "factor", "month", "horizon_hours", "mean_ic", "n_hours")
    if lacking:
        return {"lacking": lacking}
    deviation = "null" if reader.lacks("factor_ic", "std_ic") else "std_ic"
    rows = reader.rows(
        f"""
        with known as (
            select *, cast({deviation} as double) as hourly_deviation from factor_ic
            where mean_ic is not null and month >= strftime(:from_ts, '%Y-%m')
                and month <= strftime(:to_ts - interval 1 microsecond, '%Y-%m')
        ),
        together as (
            select
                factor,
                horizon_hours,
                sum(mean_ic * n_hours) / nullif(sum(n_hours), 0) as mean,
                -- squares of the hours: within the months, and of the months
                sum((n_hours - 1) * hourly_deviation * hourly_deviation)
                + sum(n_hours * mean_ic * mean_ic) as squares,
                count(*) filter (where mean_ic > 0) / count(*) as share_above,
                count(*) as months,
                sum(n_hours) as hours,
                list(mean_ic order by month) as by_month
            from known group by factor, horizon_hours
        )
        select
            factor,
            horizon_hours,
            mean,
            mean * sqrt(hours / horizon_hours)
            / nullif(sqrt(greatest(squares - hours * mean * mean, 0) / nullif(hours - 1, 0)), 0),
            share_above,
            months,
            hours,
            by_month
        from together order by factor, horizon_hours
        """  # noqa: S608 (constants)
    )
    if not rows:
        return {"lacking": "The table factor_ic has no rows in this range."}
    cells = ([*r[:2], *map(short, r[2:5]), *r[5:7], _short(r[7])] for r in rows)
    heads = (
        ("Factor", "code", "Column of final_dataset"),
        ("Horizon, hours", "count", "Length of the return after the hour"),
        ("Mean IC", "signed", "Mean over hours of the rank correlation; sorted by its size"),
        ("t value", "signed", "Of the mean; one hour in as many as the horizon counts"),
        ("Months above 0", "share", "Share of the months whose mean is positive"),
        ("Months", "count", "Months with a value"),
        ("Hours", "count", "Hours with a value"),
        ("By month", "bars", "Mean of each month, from the first to the last"),
    )
    by = 2 if deviation == "null" else 3
    return {"table": table(heads, cells, sort=[by, "down"], choose=[1])}
