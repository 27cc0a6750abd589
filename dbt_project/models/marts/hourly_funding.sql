{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 1}) }}

with
spine as (
    select * from {{ ref('int_hourly_spine') }}
    where {{ in_reach('hour_ts') }}
),

funding_hours as (
    select * from {{ ref('int_funding_hourly') }}
    where {{ in_reach('hour_ts') }}
),

premium_averages as (
    select * from {{ ref('int_funding_premium_hourly') }}
    where {{ in_reach('hour_ts') }}
),

-- A rate that no settlement has renewed in time says nothing about the present.
fresh as (
    select
        spine.symbol,
        spine.hour_ts,
        spine.bar_end_time,
        spine.feature_time,
        spine.has_bar,
        spine.listing_segment,
        case when not funding_hours.is_stale then funding_hours.funding_rate end as funding_rate,
        case
            when not funding_hours.is_stale then funding_hours.funding_interval_hours
        end as funding_interval_hours,
        case
            when not funding_hours.is_stale then {{ finite('funding_hours.funding_annualized') }}
        end as funding_annualized,
        case
            when not funding_hours.is_stale then funding_hours.funding_delta_settle
        end as funding_delta_settle,
        case when not funding_hours.is_stale then funding_hours.funding_source end
            as funding_source,
        case
            when not funding_hours.is_stale then premium_averages.premium_average
        end as premium_average,
        funding_hours.funding_paid_24h,
        funding_hours.hours_since_funding
    from spine
    left join funding_hours
        on
            spine.symbol = funding_hours.symbol
            and spine.hour_ts = funding_hours.hour_ts
    left join premium_averages
        on
            spine.symbol = premium_averages.symbol
            and spine.hour_ts = premium_averages.hour_ts
),

medians as (
    select
        hour_ts,
        {{ pct('funding_annualized', 0.5) }} as median_annualized
    from fresh
    where has_bar = 1 and funding_annualized is not null
    group by hour_ts
    having count(*) >= 10
),

compared as (
    select
        fresh.*,
        fresh.funding_rate - lag(fresh.funding_rate) over (
            partition by fresh.symbol, fresh.listing_segment order by fresh.hour_ts nulls last
        ) as funding_delta,
        case
            when abs(fresh.funding_annualized) > 3e-1 then 1
            when fresh.funding_annualized is not null then 0
        end as arb_pressure,
        fresh.funding_annualized - medians.median_annualized as funding_pressure,
        (
            fresh.premium_average
            + least(greatest(1e-4 - fresh.premium_average, -5e-4), 5e-4)
        ) * fresh.funding_interval_hours / 8e0 as funding_rate_pred
    from fresh
    left join medians on fresh.hour_ts = medians.hour_ts
),

final as (
    select
        symbol,
        hour_ts,
        bar_end_time,
        feature_time,
        has_bar,
        listing_segment,
        {{ finite('funding_rate') }} as funding_rate,
        cast(funding_interval_hours as int) as funding_interval_hours,
        {{ finite('funding_annualized') }} as funding_annualized,
        {{ finite('funding_delta') }} as funding_delta,
        {{ finite('funding_delta_settle') }} as funding_delta_settle,
        cast(arb_pressure as int) as arb_pressure,
        cast(sign(funding_annualized) * arb_pressure as int) as arb_pressure_side,
        {{ finite('funding_paid_24h') }} as funding_paid_24h,
        {{ finite('hours_since_funding') }} as hours_since_funding,
        {{ finite('funding_pressure') }} as funding_pressure,
        {{ finite('case when premium_average is not null then funding_rate_pred end') }}
            as funding_rate_pred,
        cast(funding_source as string) as funding_source
    from compared
)

select * from final
