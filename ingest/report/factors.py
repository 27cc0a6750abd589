"""Factor health: what is missing of every column of ``final_dataset``, its spread and its drift.

Counts (NULLs, infinities, least and largest value) are of every row. Distributions are of a sample
of hours, chosen by a hash of symbol and hour, so that the same warehouse gives the same page.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta

from ingest.report.dictionary import described
from ingest.report.reader import Reader, Section, moment, quoted, short, table

SAMPLED_HOURS = 100_000
RECENT = timedelta(days=30)
BINS = 24
COLUMNS_AT_ONCE = 48  # bounds the memory of a query

Histograms = tuple[list[int], list[int]]  # of all hours and of the recent ones


def factor_health(reader: Reader, tick: Callable[[], None]) -> Section:
    """One row per column.

    Args:
        reader: the warehouse.
        tick: called after each of ``n_batches`` queries.
    """
    lacking = reader.lacks("final_dataset", "symbol", "hour_ts")
    if lacking:
        return {"lacking": lacking}
    hours, last = reader.one(
        """
        select count(*), max(hour_ts)
        from final_dataset where hour_ts >= :from_ts and hour_ts < :to_ts
        """
    )
    if not hours:
        return {"lacking": "The table final_dataset has no rows in this range."}
    recent_from = last + timedelta(hours=1) - RECENT
    reader.connection.execute("set variable recent_ts = cast(? as timestamp)", [recent_from])
    one_of = math.ceil(hours / SAMPLED_HOURS)
    columns = reader.columns["final_dataset"]
    meanings = described(reader)
    recent_hours = 0
    cells = []
    for names in _batches(list(columns)):
        numbers = [n for n in names if _is_number(columns[n])]
        recent_hours, facts = _facts(reader, names, numbers)
        shapes = _shapes(reader, numbers, one_of) if numbers else {}
        for name in names:
            family, meaning = meanings.get(name, ("", ""))
            cells.append([family, name, *_row(hours, recent_hours, facts[name], shapes.get(name))])
            cells[-1].append(meaning)
        tick()
    return {
        "table": _as_table(cells),
        "hours": hours,
        "recent_hours": recent_hours,
        "recent_from": moment(recent_from),
        "one_of": one_of,
    }


def n_batches(reader: Reader) -> int:
    """How many times ``factor_health`` ticks."""
    return math.ceil(len(reader.columns.get("final_dataset", ())) / COLUMNS_AT_ONCE)


def _batches(names: list[str]) -> list[list[str]]:
    return [names[i : i + COLUMNS_AT_ONCE] for i in range(0, len(names), COLUMNS_AT_ONCE)]


def _is_number(kind: str) -> bool:
    return kind.startswith(("DECIMAL", "DOUBLE", "FLOAT", "BOOLEAN", "HUGEINT")) or (
        kind.removeprefix("U") in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
    )


def _facts(
    reader: Reader, names: list[str], numbers: list[str]
) -> tuple[int, dict[str, tuple[int, int, int, float | None, float | None]]]:
    """Recent hours; of each column values, recent values, not finite ones, least and largest."""
    parts = []
    for name in names:
        column = quoted(name)
        value = f"cast({column} as double)" if name in numbers else "cast(null as double)"
        parts.append(
            f"count({column}), count({column}) filter (where hour_ts >= getvariable('recent_ts')), "
            f"count(*) filter (where not isfinite({value})), "
            f"min({value}) filter (where isfinite({value})), "
            f"max({value}) filter (where isfinite({value}))"
        )
    recent, *values = reader.one(
        f"""
        select count(*) filter (where hour_ts >= getvariable('recent_ts')), {", ".join(parts)}
        from final_dataset where hour_ts >= :from_ts and hour_ts < :to_ts
        """  # noqa: S608 (quoted names)
    )
    facts = {
        name: (values[i], values[i + 1], values[i + 2], values[i + 3], values[i + 4])
        for name, i in zip(names, range(0, len(values), 5), strict=True)
    }
    return recent, facts


class _Shape:
    """A column's distribution in the sample."""

    def __init__(self, low: float, middle: float, high: float) -> None:
        self.low, self.middle, self.high = low, middle, high
        self.histograms: Histograms = ([0] * BINS, [0] * BINS)
        self.deciles: Histograms = ([0] * 10, [0] * 10)

    def add(self, is_recent: bool, bar: int, decile: int, count: int) -> None:
        for group in (0, 1) if is_recent else (0,):
            self.histograms[group][bar] += count
            self.deciles[group][decile] += count


def _shapes(reader: Reader, numbers: list[str], one_of: int) -> dict[str, _Shape]:
    """Quantiles and histograms of finite values in one of so many hours."""
    picked = ", ".join(f"cast({quoted(n)} as double) as {quoted(n)}" for n in numbers)
    deciles = ", ".join(f"{i / 10}" for i in range(1, 10))
    above = " + ".join(f"cast(value > deciles[{i}] as int)" for i in range(1, 10))
    rows = reader.rows(
        f"""
        with picked as (
            select hour_ts >= getvariable('recent_ts') as "_is_recent", {picked}
            from final_dataset
            where hour_ts >= :from_ts and hour_ts < :to_ts and hash(symbol, hour_ts) % ? = 0
        ),
        long as (
            unpivot picked on columns(* exclude ("_is_recent")) into name factor value value
        ),
        finite as (select * from long where isfinite(value)),
        edges as (
            select
                factor,
                quantile_cont(value, [0.01, 0.5, 0.99]) as spread,
                quantile_disc(value, [{deciles}]) as deciles,
                min(value) as least,
                max(value) as largest
            from finite group by factor
        ),
        scaled as (
            -- a flag that is rarely raised has one value between its quantiles
            select
                factor,
                spread[2] as middle,
                case when spread[1] < spread[3] then spread[1] else least end as low,
                case when spread[1] < spread[3] then spread[3] else largest end as high,
                deciles
            from edges
        ),
        placed as (
            select
                factor,
                low,
                middle,
                high,
                "_is_recent" as is_recent,
                cast(least(greatest(coalesce(
                    floor({BINS} * ((value - low) / nullif(high - low, 0))), 0
                ), 0), {BINS - 1}) as int) as bar,
                {above} as decile
            from finite inner join scaled using (factor)
        )
        select factor, low, middle, high, is_recent, bar, decile, count(*) from placed group by all
        """,  # noqa: S608 (quoted names and constants)
        one_of,
    )
    shapes: dict[str, _Shape] = {}
    for factor, low, middle, high, is_recent, bar, decile, count in rows:
        shape = shapes.setdefault(factor, _Shape(low, middle, high))
        shape.add(is_recent, bar, decile, count)
    return shapes


def _row(
    hours: int,
    recent_hours: int,
    facts: tuple[int, int, int, float | None, float | None],
    shape: _Shape | None,
) -> list[object]:
    values, recent_values, not_finite, least, largest = facts
    nulls = 1 - values / hours
    recent_nulls = 1 - recent_values / recent_hours if recent_hours else None
    cells: list[object] = [short(nulls), short(recent_nulls), not_finite]
    if shape is None:
        return [*cells, None, None, None, None, None, None]
    return [
        *cells,
        short(stability_index(*shape.deciles)),
        [_scaled(h) for h in shape.histograms],
        short(shape.middle),
        f"{shape.low:.4g} … {shape.high:.4g}",
        short(least),
        short(largest),
    ]


def stability_index(whole: list[int], recent: list[int]) -> float | None:
    """Population stability index of the recent values against all, over the deciles of all.

    Sum over the deciles of (recent share - share) x ln(recent share / share); a decile without a
    recent value counts as half a value. None if there are no recent values. 0 means the same
    distribution; by custom 0.1 is a shift to look at and 0.25 a large one.
    """
    n_whole, n_recent = sum(whole), sum(recent)
    if not n_recent:
        return None
    index = 0.0
    for count, recent_count in zip(whole, recent, strict=True):
        if count:
            share, recent_share = count / n_whole, max(recent_count, 0.5) / n_recent
            index += (recent_share - share) * math.log(recent_share / share)
    return index


def _scaled(histogram: list[int]) -> list[int]:
    """Heights of 0 to 100."""
    highest = max(histogram) or 1
    return [round(100 * count / highest) for count in histogram]


def _as_table(cells: list[list[object]]) -> Section:
    return table(
        (
            ("Family", "text", "The mart that the column comes from"),
            ("Column", "describe", "Column of final_dataset; press it to read what it means"),
            ("NULL", "share", "Share of the hours without a value"),
            ("NULL, 30 days", "share", "The same in the last 30 days"),
            ("Inf, NaN", "count", "Values that are not finite; there should be none"),
            ("Drift", "number", "Population stability index of the last 30 days against all hours"),
            (
                "Distribution",
                "spark",
                "Area: all hours; line: last 30 days; between the 1 % and 99 % quantiles",
            ),
            ("Median", "number", "Of the sample, in the unit of the column"),
            ("1 % … 99 %", "text", "Quantiles of the sample"),
            ("Least", "number", "Of all hours"),
            ("Largest", "number", "Of all hours"),
            ("Meaning", "hidden", "What the column means"),
        ),
        cells,
        choose=[0],
    )
