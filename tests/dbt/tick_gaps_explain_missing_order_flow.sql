-- An hour without order flow although its day is not in a gap of the tick files.
with
missing_hours as (
    select
        symbol,
        hour_ts
    from {{ ref('hourly_order_flow') }}
    where at_trade_count is null
),

explained as (
    select
        symbol,
        gap_start,
        gap_end
    from {{ ref('gaps') }}
    where
        dataset = 'agg_trades_1m'
        and slot = 'daily file'
)

select missing_hours.*
from missing_hours
left join explained
    on
        missing_hours.symbol = explained.symbol
        and missing_hours.hour_ts >= explained.gap_start
        and missing_hours.hour_ts < explained.gap_end
where explained.symbol is null
