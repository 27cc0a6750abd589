{#- Stretches of more than an hour that the minute tape covers but in which nothing traded. -#}
with
bars as (
    select * from {{ ref('int_klines_hourly') }}
),

spine as (
    select * from {{ ref('int_hourly_spine') }}
),

taped as (
    select
        spine.symbol,
        spine.listing_segment,
        spine.hour_ts,
        bars.first_active_minute,
        bars.last_active_minute,
        sum(coalesce(bars.n_rows, 0)) over (
            partition by spine.symbol, spine.listing_segment
            order by spine.hour_ts nulls last
            rows between unbounded preceding and current row
        ) as rows_so_far
    from spine
    left join bars
        on
            spine.symbol = bars.symbol
            and spine.hour_ts = bars.hour_ts
),

active as (
    select
        symbol,
        hour_ts + first_active_minute * interval '1' minute as first_active_ts,
        lag(hour_ts) over (
            partition by symbol, listing_segment order by hour_ts nulls last
        ) as previous_hour_ts,
        lag(hour_ts + last_active_minute * interval '1' minute) over (
            partition by symbol, listing_segment order by hour_ts nulls last
        ) as previous_active_ts,
        hour_ts,
        rows_so_far,
        lag(rows_so_far) over (
            partition by symbol, listing_segment order by hour_ts nulls last
        ) as rows_before
    from taped
    where first_active_minute is not null
),

measured as (
    select
        symbol,
        previous_active_ts + interval '1' minute as silence_start,
        first_active_ts as silence_end,
        {{ seconds_between('previous_active_ts', 'first_active_ts') }} / 60 - 1 as n_minutes,
        -- minutes without a row, at most: the hour of the last trade counts as complete
        {{ seconds_between('previous_hour_ts', 'hour_ts') }} / 60
        - (rows_so_far - rows_before) as n_absent
    from active
    where {{ seconds_between('previous_active_ts', 'first_active_ts') }} > 3605
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
