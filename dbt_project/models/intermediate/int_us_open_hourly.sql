{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 1}) }}

with
hours as (
    select * from {{ ref('int_klines_hourly') }}
    where {{ in_reach('hour_ts') }}
),

spine as (
    select * from {{ ref('int_hourly_spine') }}
    where {{ in_reach('hour_ts') }}
),

holidays as (
    select * from {{ ref('us_market_holidays') }}
),

-- The opening hour runs from 09:30 to 10:29 New York, so it ends in the row of 10:00 New York. The
-- offset to UTC is whole hours, so minutes :29 and :30 are the same on both clocks.
located as (
    select
        spine.symbol,
        spine.hour_ts,
        spine.listing_segment,
        lag(hours.open_at_30) over (
            partition by spine.symbol, spine.listing_segment order by spine.hour_ts nulls last
        ) as open_0930,
        hours.close_at_29 as close_1029,
        {{ new_york_time('spine.hour_ts') }} as new_york_ts
    from spine
    left join hours
        on
            spine.symbol = hours.symbol
            and spine.hour_ts = hours.hour_ts
),

final as (
    select
        located.symbol,
        located.hour_ts,
        {{ safe_ln(safe_div('located.close_1029', 'located.open_0930')) }} as us_open_logret
    from located
    left join holidays on cast(located.new_york_ts as date) = holidays.holiday
    where
        extract(hour from located.new_york_ts) = 10
        -- Monday to Friday: 1970-01-01 was a Thursday
        and {{ seconds_between(
            "timestamp '1970-01-01'", "date_trunc('day', located.new_york_ts)"
        ) }} / 86400 % 7 not in (2, 3)
        and holidays.holiday is null
)

select * from final
