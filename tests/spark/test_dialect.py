"""Every macro whose SQL differs by engine gives the same values on each engine."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingest.config import PROJECT_ROOT

SEPARATOR = "-- next"

# What a macro makes of the columns of one row: t has the time 12:00:00.9 on a day of winter time.
ROW = """
    select
        {{ vector_literal("3e0, 1e0, 2e0, 1e0") }} as v,
        {{ vector_literal("4e0, 5e0, 6e0, 7e0") }} as y,
        {{ vector_literal("30, 10, 20, 15") }} as k,
        {{ vector_literal("cast(null as double), 2e0") }} as with_null,
        case when 1 = 2 then {{ vector_literal("1e0") }} end as nothing,
        cast('2024-03-10 06:59:59.9' as timestamp) as t,
        cast('2024-03-10 07:00:01.1' as timestamp) as u
"""
EXPRESSIONS: dict[str, list[tuple[str, Any]]] = {
    "vector_literal": [("{{ vector_literal('1e0, 2e0') }}", [1, 2])],
    "vector_concat": [("{{ vector_concat('v', 'y') }}", [3, 1, 2, 1, 4, 5, 6, 7])],
    "vector_dot": [("{{ vector_dot('v', 'y') }}", 36)],
    "vector_filter": [("{{ vector_filter('v', 'e', 'e > 1') }}", [3, 2])],
    "vector_item": [
        ("{{ vector_item('v', 1) }}", 3),
        ("{{ vector_item('v', 4) }}", 1),
        ("{{ vector_item('v', 0) }}", None),
        ("{{ vector_item('v', 5) }}", None),
    ],
    "vector_largest": [
        ("{{ vector_largest('v', 2) }}", [3, 2]),
        ("{{ vector_largest('v', 9) }}", [3, 2, 1, 1]),
    ],
    "vector_smallest": [
        ("{{ vector_smallest('v', 3) }}", [1, 1, 2]),
        ("{{ vector_smallest('v', 9) }}", [1, 1, 2, 3]),
    ],
    "vector_map": [("{{ vector_map('v', 'e', 'e * 2') }}", [6, 2, 4, 2])],
    "vector_max": [("{{ vector_max('v') }}", 3), ("{{ vector_max('with_null') }}", 2)],
    "vector_min": [("{{ vector_min('v') }}", 1), ("{{ vector_min('with_null') }}", 2)],
    "vector_pick": [
        ("{{ vector_pick('v', vector_literal('4, 1')) }}", [1, 3]),
        ("{{ vector_pick('v', vector_filter(vector_positions('y'), 'i', 'i > 2')) }}", [2, 1]),
    ],
    "vector_positions": [
        ("{{ vector_positions('v') }}", [1, 2, 3, 4]),
        ("{{ vector_positions(vector_filter('v', 'e', 'e > 9')) }}", []),
    ],
    "vector_range": [
        ("{{ vector_range(0, 3) }}", [0, 1, 2]),
        ("{{ vector_range(5, 6) }}", [5]),
        ("{{ vector_range(3, 3) }}", []),
    ],
    "vector_size": [
        ("{{ vector_size('v') }}", 4),
        ("{{ vector_size(vector_map('nothing', 'e', 'e')) }}", None),
    ],
    "vector_slice": [
        ("{{ vector_slice('v', 2, 3) }}", [1, 2]),
        ("{{ vector_slice('v', 3, 9) }}", [2, 1]),
        ("{{ vector_slice('v', 3, 2) }}", []),
    ],
    "vector_sorted": [("{{ vector_sorted('v') }}", [1, 1, 2, 3])],
    "vector_sorted_by": [
        ("{{ vector_sorted_by('v', 'k') }}", [1, 1, 2, 3]),
        ("{{ vector_sorted_by('y', 'k') }}", [5, 7, 6, 4]),
        ("{{ vector_sorted_by('y', 'v') }}", [5, 7, 6, 4]),  # two keys are the same: in order
    ],
    "vector_sum": [
        ("{{ vector_sum('v') }}", 7),
        ("{{ vector_sum('with_null') }}", 2),
        ("{{ vector_sum(vector_filter('v', 'e', 'e > 9')) }}", 0),
    ],
    "quantile_positions": [
        ("{{ quantile_positions('y', '22e0', [10, 50, 100]) }}", [1, 3, 4]),
    ],
    "microseconds_between": [("{{ microseconds_between('t', 'u') }}", 1_200_000)],
    "seconds_between": [("{{ seconds_between('t', 'u') }}", 2)],  # seconds begun, not full ones
    "new_york_time": [
        ("{{ new_york_time('t') }}", datetime(2024, 3, 10, 1, 59, 59, 900_000)),
        ("{{ new_york_time('u') }}", datetime(2024, 3, 10, 3, 0, 1, 100_000)),  # summer has begun
    ],
}

# Whole queries: aggregates, windows, what makes rows.
NUMBERS = "(values (1, 4e0), (2, 1e0), (3, null), (4, 9e0), (5, 1e0)) as numbers (i, x)"
BARS = """(
    select 'A' as symbol, 1 as listing_segment, i as bar_number,
        cast('2024-01-01' as timestamp) + i * interval '1' hour as hour_ts,
        x as close, x + 0.5e0 as middle, -1 as side_of_middle, 2e0 as true_range
    from (values (1, 10e0), (2, 11e0), (3, 20e0), (4, 5e0)) as bars (i, x)
)"""
QUERIES: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "vector_of": (
        f"select {{{{ vector_sorted(vector_of('x')) }}}} from {NUMBERS} where x is not null",
        [([1, 1, 4, 9],)],
    ),
    "sorted_vector_of": (
        f"select {{{{ sorted_vector_of('x', 'i > 1') }}}} from {NUMBERS} where x is not null",
        [([1, 1, 9],)],
    ),
    "explode_together": (
        "select {{ explode_together(['v', 'w']) }} from (select {{ vector_range(2, 4) }} as v, "
        "{{ vector_range(5, 7) }} as w) as one order by v",
        [(2, 5), (3, 6)],
    ),
    "value_where": (
        f"select {{{{ value_where('x', 'i = 4') }}}}, {{{{ value_where('x', 'i = 9') }}}} "
        f"from {NUMBERS}",
        [(9, None)],
    ),
    "explode": ("select {{ explode(vector_range(2, 5)) }} as i order by i", [(2,), (3,), (4,)]),
    "unpivot_columns": (
        "select name, y from (select {{ unpivot_columns({'name': [\"'a'\", \"'b'\"], "
        "'y': ['x', 'x * 2']}) }} from (select 3e0 as x) as one) as rows_of_it order by name",
        [("a", 3), ("b", 6)],
    ),
    "pct": (f"select {{{{ pct('x', 0.75) }}}} from {NUMBERS}", [(5.25,)]),
    "own_columns": (
        "select {{ own_columns('one') }} from (select 2 as i"
        "{{ ', 3 as month' if target.type == 'spark' }}) as one",
        [(2,)],
    ),
    "mad": (
        f"select {{{{ mad('x', 'to_here') }}}} from {NUMBERS} window to_here as "
        "(order by i nulls last rows between 2 preceding and current row) order by i",
        [(0,), (1.5,), (1.5,), (4,), (4,)],
    ),
    "n_smaller": (
        f"select {{{{ n_smaller('x', 'to_here') }}}} from {NUMBERS} where x is not null window "
        "to_here as (order by i nulls last rows between 2 preceding and current row) order by i",
        [(0,), (0,), (2,), (0,)],
    ),
    "hash_of": (
        "select count(distinct h) from (select {{ hash_of(['i', 'x']) }} as h from "
        f"(select * from {NUMBERS} union all select * from {NUMBERS}) as twice) as hashes",
        [(5,)],
    ),
    "materialized": (
        "with one as {{ materialized() }} (select 1 as x) select a.x + b.x from one as a, one as b",
        [(2,)],
    ),
    "supertrend_states": (
        "with recursive numbered as {{ materialized() }} (select * from " + BARS + " as bars), "
        "{{ supertrend_states('numbered', 2, '2e0') }} "
        "select bar_number, atr, upper_band, lower_band, direction, previous_direction "
        "from states order by bar_number",
        [
            (1, 2, 14.5, 6.5, -1, 0),
            (2, 2, 15.5, 7.5, -1, -1),
            (3, 2, 15.5, 16.5, 1, -1),
            (4, 2, 9.5, 16.5, -1, 1),
        ],
    ),
}
BUILD = {  # sessions and tables are made by them: the parity of whole builds tests these
    "build_states", "create_from_python", "load_csv_rows", "months_of_tables", "reach_lake",
    "replace_table", "stage_lake", "view_definitions",
}  # fmt: skip

Run = Callable[[str], list[tuple[Any, ...]]]


def compiled(target: str) -> list[str]:
    """The SQL of every case, as dbt writes it for a target."""
    cases = [
        f"select {e} as value from ({ROW}) as one" for of in EXPRESSIONS.values() for e, _ in of
    ]
    cases += [query for query, _ in QUERIES.values()]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                Path(sys.executable).with_name("dbt"), "--quiet", "--no-use-colors", "compile",
                "--no-introspect", "--no-populate-cache", "--target", target, "--output", "json",
                "--inline", f"\n{SEPARATOR}\n".join(cases), "--profiles-dir", PROJECT_ROOT,
                "--project-dir", PROJECT_ROOT, "--target-path", folder, "--log-path", folder,
            ],
            cwd=folder, env={**os.environ, "PERP_SPARK_FOLDER": folder}, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    text = json.loads(done.stdout[done.stdout.index("{") :])["compiled"]
    return [part.strip() for part in text.split(SEPARATOR)]


@pytest.fixture(scope="module", params=["duckdb", "spark"])
def answers(request: pytest.FixtureRequest) -> Iterator[Callable[[int], list[tuple[Any, ...]]]]:
    """What an engine answers to a case, by its number."""
    if request.param == "duckdb":
        queries = compiled("dev")
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            yield lambda i: connection.execute(queries[i]).fetchall()
        return
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("Spark is not installed here; run: make test-spark")
    queries = compiled("spark")
    script = Path(__file__).with_name("answer.py")
    done = subprocess.run(
        [sys.executable, script], input=json.dumps(queries), check=False, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-6000:]
    rows = json.loads(done.stdout)

    def answer(i: int) -> list[tuple[Any, ...]]:
        assert isinstance(rows[i], list), rows[i]
        return [tuple(row) for row in rows[i]]

    yield answer


def same(value: Any, expected: Any) -> bool:
    """Whether they are the same number, moment, or list of numbers."""
    if isinstance(expected, datetime):
        return str(value) == str(expected)
    if isinstance(expected, list):
        return len(value) == len(expected) and all(map(same, value, expected))
    if isinstance(expected, int | float) and value is not None:
        return math.isclose(value, expected, rel_tol=1e-12)
    return value == expected


EXPECTED = [(name, [(x,)]) for name, of in EXPRESSIONS.items() for _, x in of]
EXPECTED += [(name, rows) for name, (_, rows) in QUERIES.items()]


@pytest.mark.parametrize(("number", "name"), [(i, name) for i, (name, _) in enumerate(EXPECTED)])
def test_the_engines_agree(answers: Callable[[int], list[tuple[Any, ...]]], number: int, name: str):
    rows, expected = answers(number), EXPECTED[number][1]
    assert len(rows) == len(expected), rows
    for row, wanted in zip(rows, expected, strict=True):
        assert all(map(same, row, wanted)), (name, row, wanted)


def test_every_macro_has_a_case():
    macros = {p.stem for p in (PROJECT_ROOT / "macros/dialect").glob("*.sql")}
    assert macros == EXPRESSIONS.keys() | QUERIES.keys() | BUILD
