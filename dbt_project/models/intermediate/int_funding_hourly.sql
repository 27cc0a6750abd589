{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 'all'}) }}

with
spine as (
    select * from {{ ref('int_hourly_spine') }}
),

settlements as (
    select * from {{ ref('int_funding_settlements') }}
),

-- One row per hour in which settlements become visible. Those stamped exactly on the hour are also
-- kept apart: they alone are still inside the 24-hour sum at its oldest row.
visible as (
    select
        symbol,
        effective_ts,
        max(settle_time) as settle_time,
        sum(funding_rate) as rate_sum,
        count(funding_rate) as n_rates,
        sum(case when settle_time = effective_ts then funding_rate end) as sharp_rate_sum,
        count(case when settle_time = effective_ts then funding_rate end) as n_sharp_rates
    from settlements
    group by symbol, effective_ts
),

carried as (
    select
        spine.symbol,
        spine.hour_ts,
        spine.listing_segment,
        max(visible.settle_time) over (
            partition by spine.symbol, spine.listing_segment
            order by spine.hour_ts nulls last
            rows between unbounded preceding and current row
        ) as settle_time,
        sum(visible.rate_sum) over (
            partition by spine.symbol, spine.listing_segment
            order by spine.hour_ts nulls last
            rows between 22 preceding and current row
        ) as recent_rate_sum,
        sum(visible.n_rates) over (
            partition by spine.symbol, spine.listing_segment
            order by spine.hour_ts nulls last
            rows between 22 preceding and current row
        ) as n_recent_rates,
        lag(visible.sharp_rate_sum, 23) over (
            partition by spine.symbol, spine.listing_segment order by spine.hour_ts nulls last
        ) as oldest_rate_sum,
        lag(visible.n_sharp_rates, 23) over (
            partition by spine.symbol, spine.listing_segment order by spine.hour_ts nulls last
        ) as n_oldest_rates
    from spine
    left join visible
        on
            spine.symbol = visible.symbol
            and spine.hour_ts = visible.effective_ts
),

final as (
    select
        carried.symbol,
        carried.hour_ts,
        carried.listing_segment,
        carried.settle_time,
        settlements.funding_rate,
        settlements.funding_interval_hours,
        settlements.funding_annualized,
        settlements.funding_delta_settle,
        settlements.source as funding_source,
        {{ seconds_between('carried.settle_time', 'carried.hour_ts') }} / 3600e0
            as hours_since_funding,
        {{ seconds_between('carried.settle_time', 'carried.hour_ts') }}
        > 3600 * greatest(2 * settlements.funding_interval_hours, 8) as is_stale,
        case
            when coalesce(carried.n_recent_rates, 0) + coalesce(carried.n_oldest_rates, 0) > 0
                then
                    coalesce(carried.recent_rate_sum, 0e0)
                    + coalesce(carried.oldest_rate_sum, 0e0)
        end as funding_paid_24h
    from carried
    left join settlements
        on
            carried.symbol = settlements.symbol
            and carried.listing_segment = settlements.listing_segment
            and carried.settle_time = settlements.settle_time
)

select * from final
