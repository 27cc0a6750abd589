{{ config(materialized='monthly') }}

with
hours as (
    select * from {{ ref('int_klines_hourly') }}
    where {{ in_batch('month') }}
),

minutes as (
    select * from {{ ref('int_klines_1m') }}
    where {{ in_batch('month') }}
),

-- Most hours trade in every minute; only the others need their minutes looked at.
unbroken_hours as (
    select
        symbol,
        hour_ts,
        60 as max_active_gap_seconds
    from hours
    where
        n_minutes_active > 1
        and n_minutes_active = last_active_minute - first_active_minute + 1
),

broken_hours as (
    select
        symbol,
        hour_ts
    from hours
    where
        n_minutes_active > 1
        and n_minutes_active < last_active_minute - first_active_minute + 1
),

steps as (
    select
        minutes.symbol,
        minutes.hour_ts,
        minutes.minute_of_hour - lag(minutes.minute_of_hour) over (
            partition by minutes.symbol, minutes.hour_ts
            order by minutes.minute_of_hour nulls last
        ) as n_minutes
    from minutes
    inner join broken_hours
        on
            minutes.symbol = broken_hours.symbol
            and minutes.hour_ts = broken_hours.hour_ts
    where minutes.is_active
),

final as (
    select
        symbol,
        hour_ts,
        cast(max_active_gap_seconds as bigint) as max_active_gap_seconds
    from unbroken_hours
    union all
    select
        symbol,
        hour_ts,
        cast(60 * max(n_minutes) as bigint) as max_active_gap_seconds
    from steps
    group by symbol, hour_ts
)

select * from final
