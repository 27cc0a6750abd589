-- An hour without open interest although its last five minutes are not in a gap.
with
missing_hours as (
    select
        symbol,
        hour_ts
    from {{ ref('hourly_open_interest') }}
    where oi_open_interest is null
),

explained as (
    select
        symbol,
        gap_start,
        gap_end
    from {{ ref('gaps') }}
    where dataset = 'metrics'
)

select distinct
    missing_hours.symbol,
    missing_hours.hour_ts
from missing_hours
left join explained
    on
        missing_hours.symbol = explained.symbol
        and missing_hours.hour_ts + interval '55' minute >= explained.gap_start
        and missing_hours.hour_ts + interval '55' minute < explained.gap_end
where explained.symbol is null
