-- An hour without a bar that no gap explains.
with
missing_hours as (
    select
        symbol,
        hour_ts
    from {{ ref('hourly_bars') }}
    where has_bar = 0
),

explained as (
    select
        symbol,
        gap_start,
        gap_end
    from {{ ref('gaps') }}
    where
        dataset = 'klines_1m'
        and reason is not null
)

select missing_hours.*
from missing_hours
left join explained
    on
        missing_hours.symbol = explained.symbol
        and missing_hours.hour_ts >= explained.gap_start
        and missing_hours.hour_ts < explained.gap_end
where explained.symbol is null
