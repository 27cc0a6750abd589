{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 0}) }}

with
spine as (
    select * from {{ ref('int_hourly_spine') }}
    where {{ in_reach('hour_ts') }}
),

ticker as (
    select * from {{ ref('int_ticker_hourly') }}
    where {{ in_reach('hour_ts') }}
),

final as (
    select
        spine.symbol,
        spine.hour_ts,
        spine.bar_end_time,
        spine.feature_time,
        spine.has_bar,
        spine.listing_segment,
        {{ finite('ticker.last_price') }} as ticker_last_price,
        {{ finite('ticker.mark_price') }} as ticker_mark_price,
        {{ finite('ticker.index_price') }} as ticker_index_price,
        {{ finite('ticker.open_interest') }} as ticker_open_interest,
        {{ finite('ticker.funding_rate_estimate') }} as ticker_funding_rate_estimate,
        ticker.next_funding_time as ticker_next_funding_time
    from spine
    left join ticker
        on
            spine.symbol = ticker.symbol
            and spine.hour_ts = ticker.hour_ts
)

select * from final
