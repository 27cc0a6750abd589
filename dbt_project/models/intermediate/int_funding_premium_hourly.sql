{#- A rate counts for twice its interval at most, and no interval is as long as 84 hours. -#}
{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 168}) }}

with
funding_hours as (
    select * from {{ ref('int_funding_hourly') }}
    where
        not is_stale
        and {{ in_reach('hour_ts') }}
),

settlements as (
    select * from {{ ref('int_funding_settlements') }}
    where {{ in_reach('settle_time') }}
),

premium_hours as (
    select * from {{ ref('int_premium_hourly') }}
    where {{ in_reach('hour_ts') }}
),

premium_minutes as (
    select * from {{ ref('int_premium_index_klines_1m') }}
    where
        {{ in_reach_months('month') }}
        and {{ in_reach('open_time') }}
),

-- A minute weighs its distance from the settlement, counted from 1. Within hour H that is the
-- constant (H - settlement) plus the minute's own number, so sums over the hour are all it takes.
weighed as (
    select
        funding_hours.symbol,
        funding_hours.hour_ts,
        funding_hours.listing_segment,
        funding_hours.settle_time,
        premium_hours.close_sum
        * {{ seconds_between('funding_hours.settle_time', 'funding_hours.hour_ts') }} / 60e0
        + premium_hours.weighted_close_sum as weighted_sum,
        premium_hours.n_minutes
        * {{ seconds_between('funding_hours.settle_time', 'funding_hours.hour_ts') }} / 60e0
        + premium_hours.weight_sum as weight
    from funding_hours
    left join premium_hours
        on
            funding_hours.symbol = premium_hours.symbol
            and funding_hours.hour_ts = premium_hours.hour_ts
),

-- A settlement off the hour: the rest of its own hour comes before the first row that sees it.
broken_hours as (
    select
        settlements.symbol,
        settlements.settle_time,
        premium_minutes.close,
        {{ seconds_between('settlements.settle_time', 'premium_minutes.open_time') }} / 60e0
        + 1e0 as weight
    from settlements
    inner join premium_minutes
        on
            settlements.symbol = premium_minutes.symbol
            and date_trunc('hour', settlements.settle_time) = premium_minutes.hour_ts
            and settlements.settle_time <= premium_minutes.open_time
    where
        settlements.settle_time < settlements.effective_ts
        and premium_minutes.is_valid
),

first_parts as (
    select
        symbol,
        settle_time,
        sum(close * weight) as weighted_sum,
        sum(weight) as weight
    from broken_hours
    group by symbol, settle_time
),

running as (
    select
        symbol,
        hour_ts,
        settle_time,
        sum(weighted_sum) over (
            partition by symbol, listing_segment, settle_time
            order by hour_ts nulls last
            rows between unbounded preceding and current row
        ) as weighted_sum,
        sum(weight) over (
            partition by symbol, listing_segment, settle_time
            order by hour_ts nulls last
            rows between unbounded preceding and current row
        ) as weight
    from weighed
),

final as (
    select
        running.symbol,
        running.hour_ts,
        (coalesce(running.weighted_sum, 0e0) + coalesce(first_parts.weighted_sum, 0e0))
        / nullif(coalesce(running.weight, 0e0) + coalesce(first_parts.weight, 0e0), 0e0)
            as premium_average
    from running
    left join first_parts
        on
            running.symbol = first_parts.symbol
            and running.settle_time = first_parts.settle_time
)

select * from final
