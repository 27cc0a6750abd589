"""Warehouses made by hand, with the tables that the report reads and no more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

REASONS = ("before_listing", "after_delisting", "absent_upstream")
REASONS += ("not_ingested", "quarantined", "failed")
DATASETS = ("klines", "mark_price_klines", "index_price_klines", "premium_index_klines")
DATASETS = tuple(f"{d}_{grain}" for d in DATASETS for grain in ("1m", "1h"))
DATASETS += ("funding_rate", "metrics", "agg_trades_1m", "liquidation_snapshot")

TABLES = """
create table coverage (
    dataset varchar, symbol varchar, month varchar, slot varchar, n_expected bigint,
    n_present bigint, n_from_api bigint, n_missing bigint, n_before_listing bigint,
    n_after_delisting bigint, n_absent_upstream bigint, n_not_ingested bigint, n_quarantined bigint,
    n_failed bigint, reason varchar, coverage_ratio double
);
create table gaps (
    dataset varchar, symbol varchar, gap_start timestamp, gap_end timestamp, reason varchar,
    n_slots bigint, slot varchar, hours double
);
create table landing_log (
    log_seq varchar, source varchar, dataset varchar, symbol varchar, month varchar, status varchar,
    is_current boolean, landed_at timestamp, parquet_bytes bigint, error varchar
);
create table landing_files (
    log_seq varchar, source varchar, dataset varchar, symbol varchar, month varchar, period varchar,
    url varchar, outcome varchar, is_current boolean, landed_at timestamp, error varchar
);
create table reconciliation (
    check_name varchar, dataset_a varchar, dataset_b varchar, symbol varchar, ts timestamp,
    field varchar, value_a double, value_b double, difference double, relative_difference double,
    cause varchar, detail varchar
);
create table reconciliation_summary (
    check_name varchar, dataset varchar, symbol varchar, month varchar, n_hours_compared bigint,
    n_hours_equal bigint, n_hours_different bigint, n_hours_only_in_a bigint,
    n_hours_only_in_b bigint, max_relative_difference double
);
create table liq_feed_coverage (symbol varchar, hour_ts timestamp, ok boolean);
create table build_log (
    invocation_id varchar, command varchar, started_at timestamp, ended_at timestamp,
    is_whole boolean, n_models bigint, n_tests bigint, n_errors bigint, n_warnings bigint,
    n_skipped bigint
);
create table factor_ic (
    factor varchar, month varchar, horizon_hours int, mean_ic double, std_ic double,
    n_hours bigint
);
create table final_dataset (
    symbol varchar, hour_ts timestamp, has_bar int, close double, volume double,
    funding_rate double, triad_basis double, oi_open_interest_usd double, cvd_quote double,
    long_liq_volume double, short_liq_volume double, is_spike boolean, bar_source varchar,
    never double, broken double
);
"""

ROWS = """
create temp table months as
select strftime(m, '%Y-%m') as month, m as starts, m + interval 1 month as ends, i
from (
    select timestamp '2020-01-01' + to_months(cast(i as int)) as m, i
    from range($n_months) as t(i)
);
create temp table cells as
select dataset, symbol, month, starts, ends, months.i as month_number, place,
    cast(hash(dataset, symbol, month) >> 2 as bigint) as dice,
    1440 * date_diff('day', starts, ends) as n
from months, unnest($datasets) as d(dataset),
    (select unnest($symbols) as symbol, generate_subscripts($symbols, 1) as place);
insert into coverage
select dataset, symbol, month, 'minute', n, n - before - holes, 0, before + holes, before, 0,
    case when dice % 7 < 3 then holes else 0 end, case when dice % 7 = 3 then holes else 0 end,
    case when dice % 7 = 4 then holes else 0 end, case when dice % 7 > 4 then holes else 0 end,
    case when dice % 7 < 3 then 'absent_upstream' else 'failed' end, null
from (
    select *, case when month_number < place % 9 then n else 0 end as before,
        case when month_number < place % 9 or dice % 3 = 0 then 0
            else cast(n * power(dice % 1000 / 1000.0, 6) as bigint) end as holes
    from cells
);
insert into gaps
select dataset, symbol, starts + to_hours(cast(dice % 600 as int)),
    starts + to_hours(cast(dice % 600 + 1 + dice % 48 as int)),
    ['absent_upstream', 'not_ingested', 'exchange_outage', 'before_listing'][1 + dice % 4],
    60 * (1 + dice % 48), 'minute', 1 + dice % 48
from cells, range($gaps_each) as t(i);
insert into landing_log
select printf('%08d', row_number() over ()), 'vision', dataset, symbol, month,
    case when dice % 500 = 0 then 'failed' else 'landed' end, true, ends, 1000000 + dice % 1000000,
    case when dice % 500 = 0 then 'no answer' end
from cells;
insert into landing_files
select printf('%08d', row_number() over ()), 'vision', dataset, symbol, month, month,
    'https://data.binance.vision/' || symbol || '.zip',
    case when dice % 300 = 0 then 'quarantined' else 'landed' end, true, ends,
    case when dice % 300 = 0 then 'sha256 differs for ' || symbol end
from cells;
insert into reconciliation
select 'minutes_against_hours', dataset, replace(dataset, '_1m', '_1h'), symbol, starts, 'close',
    1, 1 + dice % 100 / 1e4, -(dice % 100) / 1e4, dice % 100 / 1e4,
    case when dice % 2 = 0 then 'minutes_missing' else 'values_differ' end, null
from cells where dataset like '%_1m' and dice % 5 = 0;
insert into reconciliation_summary
select 'minutes_against_hours', dataset, symbol, month, 700, 700 - dice % 9, dice % 9, 0, 0, 0.01
from cells where dataset like '%_1m';
insert into liq_feed_coverage
select symbol, starts + to_days(cast(d as int)), d % 3 > 0
from cells, range(28) as t(d) where dataset = 'klines_1m';
insert into build_log values
    ('1', 'build', '2025-03-01 00:00', '2025-03-01 00:21', true, 180, 900, 0, 2, 0),
    ('2', 'test', '2025-03-01 02:00', '2025-03-01 02:03', false, 0, 900, 3, 2, 1);
insert into factor_ic
select factor, month, horizon,
    sin(cast(hash(factor, month, horizon) % 1000 as bigint)) / 20, 0.2, 700
from months, unnest(['close', 'volume', 'cvd_quote']) as f(factor),
    unnest([1, 4, 24]) as h(horizon);
insert into final_dataset
select symbol, hour_ts, case when day(hour_ts) = 7 then 0 else 1 end, x, 100 * x,
    sin(x) / 1e4, cos(x) / 1e3, 1e9 * (2 + sin(x / 9)), 1e6 * sin(hour),
    case when dice % 9 = 0 then 1e5 * x end,
    case when dice % 7 = 0 then 1e5 * x end, dice % 500 = 0, 'klines_1m', null,
    case when dice % 1000 = 0 then 'inf'::double when dice % 1000 = 1 then 'nan'::double else x end
from (
    select symbol, starts + to_hours(cast(hour as int)) as hour_ts, hour,
        cast(hash(symbol, starts, hour) >> 2 as bigint) as dice,
        20 + 10 * sin((month_number * 720 + hour) / 300.0) as x
    from cells, range(744) as t(hour)
    -- the first symbol has every hour, the others have one in six
    where dataset = 'klines_1m' and (place = 1 or hour % 6 = 0)
        and starts + to_hours(cast(hour as int)) < ends
);
"""


def make_warehouse(
    path: Path, symbols: Sequence[str], n_months: int, *, gaps_each: int = 1
) -> Path:
    """All tables of the report, from January 2020 on, with values that follow from a hash."""
    values = {
        "n_months": n_months,
        "datasets": list(DATASETS),
        "symbols": list(symbols),
        "gaps_each": gaps_each,
    }
    with duckdb.connect(str(path)) as connection:
        connection.execute(TABLES)
        for statement in ROWS.split(";\n"):
            if statement.strip():
                used = {k: v for k, v in values.items() if f"${k}" in statement}
                connection.execute(statement, used)
    return path


def make_empty(path: Path) -> Path:
    """The same tables without a row."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(TABLES)
    return path
