{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 0}) }}

with
spine as (
    select * from {{ ref('int_hourly_spine') }}
    where {{ in_reach('hour_ts') }}
),

bars as (
    select * from {{ ref('int_bars_hourly') }}
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
        {{ finite('bars.open') }} as open,
        {{ finite('bars.high') }} as high,
        {{ finite('bars.low') }} as low,
        {{ finite('bars.close') }} as close,
        {{ finite('bars.volume') }} as volume,
        {{ finite('bars.quote_volume') }} as quote_volume,
        bars.trade_count,
        {{ finite('bars.taker_buy_volume') }} as taker_buy_volume,
        {{ finite('bars.taker_buy_quote_volume') }} as taker_buy_quote_volume,
        {{ finite('bars.vwap') }} as vwap,
        {{ finite('bars.vwap_quote') }} as vwap_quote,
        {{ finite('bars.vwap_dev') }} as vwap_dev,
        case when bars.symbol is null then 0 else bars.n_minutes end as n_minutes,
        case when bars.symbol is null then 0 else bars.n_minutes_active end as n_minutes_active,
        bars.quote_is_proxy,
        bars.bar_source,
        bars.bar_origin
    from spine
    left join bars
        on
            spine.symbol = bars.symbol
            and spine.hour_ts = bars.hour_ts
)

select * from final
