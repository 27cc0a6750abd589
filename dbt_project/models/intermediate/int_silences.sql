{#- Stretches of more than an hour that the minute tape covers but in which nothing traded. -#}
{{ config(materialized='hourly', partition_by='month', meta={
    'hours_before': var('segment_silence_hours'),
    'time_column': 'silence_end',
}) }}

with
bars as (
    select * from {{ ref('int_klines_hourly') }}
    where {{ in_reach('hour_ts') }}
),

spine as (
    select * from {{ ref('int_hourly_spine') }}
    where {{ in_reach('hour_ts') }}
),

active as (
    select
        spine.symbol,
        spine.hour_ts,
        spine.hour_ts + bars.first_active_minute * interval '1' minute as first_active_ts,
        lag(spine.hour_ts) over by_hour as previous_hour_ts,
        lag(spine.hour_ts + bars.last_active_minute * interval '1' minute) over by_hour
            as previous_active_ts
    from spine
    inner join bars
        on
            spine.symbol = bars.symbol
            and spine.hour_ts = bars.hour_ts
    where bars.first_active_minute is not null
    window
        by_hour as (
            partition by spine.symbol, spine.listing_segment
            order by spine.hour_ts nulls last
        )
),

silent as (
    select * from active
    where {{ seconds_between('previous_active_ts', 'first_active_ts') }} > 3605
),

-- Minutes without a row, at most: the hour of the last trade counts as complete.
measured as (
    select
        silent.symbol,
        silent.previous_active_ts + interval '1' minute as silence_start,
        silent.first_active_ts as silence_end,
        {{ seconds_between('silent.previous_active_ts', 'silent.first_active_ts') }} / 60 - 1
            as n_minutes,
        {{ seconds_between('silent.previous_hour_ts', 'silent.hour_ts') }} / 60 - sum(bars.n_rows)
            as n_absent
    from silent
    inner join bars
        on
            silent.symbol = bars.symbol
            and silent.previous_hour_ts < bars.hour_ts
            and silent.hour_ts >= bars.hour_ts
    group by
        silent.symbol,
        silent.hour_ts,
        silent.previous_hour_ts,
        silent.previous_active_ts,
        silent.first_active_ts
),

final as (
    select
        symbol,
        silence_start,
        silence_end,
        cast(n_minutes - greatest(n_absent, 0) as bigint) as n_silent
    from measured
    where n_minutes > greatest(n_absent, 0)
)

select * from final
