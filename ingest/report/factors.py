"""Factor health: what is missing of every column of ``final_dataset``, its spread and its drift.

Counts (NULLs, infinities, least and largest value) are of every row. Distributions are of two
samples, one of all hours and one of the last 30 days. A hash of symbol and hour chooses them, so
that the same warehouse gives the same page.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from ingest.dictionary import FAMILIES, dictionary
from ingest.report.reader import Reader, Section, moment, short, table
from ingest.warehouse import quoted

SAMPLED_HOURS = 12_000  # per sample; by chance alone drift is then about 0.002
RECENT = timedelta(days=30)
BINS = 24
COLUMNS_AT_ONCE = 48  # bounds the memory of a query

Histograms = tuple[list[int], list[int]]  # of all hours and of the recent ones


class _Facts(NamedTuple):
    """Of every row of a column."""

    values: int
    recent_values: int
    not_finite: int
    least: float | None
    largest: float | None


class _Shape:
    """How a column's values spread in the samples."""

    def __init__(self, low: float, middle: float, high: float) -> None:
        self.low, self.middle, self.high = low, middle, high
        self.histograms: Histograms = ([0] * BINS, [0] * BINS)
        self.deciles: Histograms = ([0] * 10, [0] * 10)

    def add(self, group: int, bar: int, decile: int, count: int) -> None:
        self.histograms[group][bar] += count
        self.deciles[group][decile] += count


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
    recent_hours = reader.one(
        """
        select count(*) from final_dataset
        where hour_ts >= getvariable('recent_ts') and hour_ts >= :from_ts and hour_ts < :to_ts
        """
    )[0]
    one_of = [math.ceil(n / SAMPLED_HOURS) for n in (hours, recent_hours)]
    columns = reader.columns["final_dataset"]
    meanings = _meanings(reader)
    cells = []
    for names in _batches(list(columns)):
        numbers = [n for n in names if _is_number(columns[n])]
        facts = _facts(reader, names, numbers)
        shapes = _shapes(reader, numbers, one_of) if numbers else {}
        for name in names:
            family, meaning = meanings.get(name, ("", ""))
            row = _row(hours, recent_hours, facts[name], shapes.get(name))
            cells.append([family, name, *row, meaning])
        tick()
    return {
        "table": _as_table(cells),
        "hours": hours,
        "recent_hours": recent_hours,
        "recent_from": moment(recent_from),
        "one_of": one_of,
    }


def _meanings(reader: Reader) -> dict[str, tuple[str, str]]:
    """Family and meaning of each column, the warehouse's own comment first."""
    texts = {}
    for name, entry in dictionary().items():
        mart = FAMILIES[entry.family][0].removeprefix("hourly_") if entry.family else "keys"
        family = f"{entry.family or ''} {mart.replace('_', ' ')}".strip()
        texts[name] = family, entry.meaning or ""
    for column, comment in reader.connection.execute(
        """
        select column_name, comment from duckdb_columns()
        where table_name = 'final_dataset' and comment is not null
            and database_name = current_database()
        """
    ).fetchall():
        texts[column] = texts.get(column, ("", ""))[0], comment
    return texts


def n_batches(reader: Reader) -> int:
    """How many times ``factor_health`` ticks."""
    return math.ceil(len(reader.columns.get("final_dataset", ())) / COLUMNS_AT_ONCE)


def _batches(names: list[str]) -> list[list[str]]:
    return [names[i : i + COLUMNS_AT_ONCE] for i in range(0, len(names), COLUMNS_AT_ONCE)]


def _is_number(kind: str) -> bool:
    return kind.startswith(("DECIMAL", "DOUBLE", "FLOAT", "BOOLEAN", "HUGEINT")) or (
        kind.removeprefix("U") in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
    )


def _facts(reader: Reader, names: list[str], numbers: list[str]) -> dict[str, _Facts]:
    parts = []
    for name in names:
        column = quoted(name)
        value = f"cast({column} as double)" if name in numbers else "cast(null as double)"
        parts.append(
            f"count({column}), coalesce(count_if(isfinite({value})), 0), min({value}), max({value})"
        )
    before: dict[str, list[Any]] = {}
    recent: dict[str, list[Any]] = {}
    for is_recent, *values in reader.rows(
        f"""
        select hour_ts >= getvariable('recent_ts'), {", ".join(parts)}
        from final_dataset where hour_ts >= :from_ts and hour_ts < :to_ts group by 1
        """  # noqa: S608 (quoted names)
    ):
        group = recent if is_recent else before
        for name, i in zip(names, range(0, len(values), 4), strict=True):
            group[name] = values[i : i + 4]
    nothing = [0, 0, None, None]
    return {
        name: _together(before.get(name, nothing), recent.get(name, nothing), name in numbers)
        for name in names
    }


def _together(before: list[Any], recent: list[Any], is_number: bool) -> _Facts:
    values = before[0] + recent[0]
    return _Facts(
        values=values,
        recent_values=recent[0],
        not_finite=values - before[1] - recent[1] if is_number else 0,
        least=min((v for v in (before[2], recent[2]) if v is not None), default=None),
        largest=max((v for v in (before[3], recent[3]) if v is not None), default=None),
    )


def _shapes(reader: Reader, numbers: list[str], one_of: list[int]) -> dict[str, _Shape]:
    """Quantiles and histograms of finite values.

    Args:
        reader: the warehouse.
        numbers: columns.
        one_of: of so many hours one is taken, of all hours and of the recent ones.
    """
    picked = ", ".join(f"cast({quoted(n)} as double) as {quoted(n)}" for n in numbers)
    deciles = ", ".join(f"{i / 10}" for i in range(1, 10))
    above = " + ".join(f"cast(value > deciles[{i}] as int)" for i in range(1, 10))
    rows = reader.rows(
        f"""
        with drawn as (
            select
                *,
                hash(symbol, hour_ts) as "_draw",
                hour_ts >= getvariable('recent_ts') as "_new"
            from final_dataset where hour_ts >= :from_ts and hour_ts < :to_ts
        ),
        picked as (
            select 0 as "_group", {picked} from drawn where "_draw" % ? = 0
            union all
            select 1 as "_group", {picked} from drawn where "_new" and "_draw" % ? = 0
        ),
        long as (
            unpivot picked on columns(* exclude ("_group")) into name factor value value
        ),
        finite as (select "_group" as part, factor, value from long where isfinite(value)),
        edges as (
            select
                factor,
                quantile_cont(value, [0.01, 0.5, 0.99]) as spread,
                quantile_disc(value, [{deciles}]) as deciles,
                min(value) as least,
                max(value) as largest
            from finite where part = 0 group by factor
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
                part,
                cast(least(greatest(coalesce(
                    floor({BINS} * ((value - low) / nullif(high - low, 0))), 0
                ), 0), {BINS - 1}) as int) as bar,
                {above} as decile
            from finite inner join scaled using (factor)
        )
        select factor, low, middle, high, part, bar, decile, count(*) from placed group by all
        """,  # noqa: S608 (quoted names and constants)
        *one_of,
    )
    shapes: dict[str, _Shape] = {}
    for factor, low, middle, high, *counted in rows:
        shapes.setdefault(factor, _Shape(low, middle, high)).add(*counted)
    return shapes


def _row(hours: int, recent_hours: int, facts: _Facts, shape: _Shape | None) -> list[object]:
    cells: list[object] = [
        short(1 - facts.values / hours),
        short(1 - facts.recent_values / recent_hours) if recent_hours else None,
        facts.not_finite,
    ]
    if shape is None:
        return [*cells, *[None] * 7]
    return [
        *cells,
        short(stability_index(*shape.deciles)),
        [_scaled(h) for h in shape.histograms],
        *map(short, (shape.low, shape.middle, shape.high, facts.least, facts.largest)),
    ]


def stability_index(whole: list[int], recent: list[int]) -> float | None:
    """Population stability index of the recent values against all, over the deciles of all.

    Sum over the deciles of (recent share - share) x ln(recent share / share); a decile without a
    value counts as half a value. None if there are no values. 0 means the same distribution; by
    custom 0.1 is a shift to look at and 0.25 a large one.
    """
    n_whole, n_recent = sum(whole), sum(recent)
    if not n_whole or not n_recent:
        return None
    index = 0.0
    for count, recent_count in zip(whole, recent, strict=True):
        if count or recent_count:
            share = max(count, 0.5) / n_whole
            recent_share = max(recent_count, 0.5) / n_recent
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
            ("Drift", "index", "Population stability index of the last 30 days against all hours"),
            (
                "Distribution",
                "spark",
                "Area: all hours; line: last 30 days; between the 1 % and 99 % quantiles",
            ),
            ("1 %", "number", "Quantile of the sample, in the unit of the column"),
            ("Median", "number", "Of the sample"),
            ("99 %", "number", "Quantile of the sample"),
            ("Least", "number", "Of all hours; empty if a value is infinite"),
            ("Largest", "number", "Of all hours; empty if a value is infinite or not a number"),
            ("Meaning", "hidden", "What the column means"),
        ),
        cells,
        choose=[0],
    )
