{{ config(materialized='view') }}

with
bars as (
    select * from {{ ref('hourly_bars') }}
),

metrics as (
    select * from {{ ref('hourly_open_interest') }}
),

final as (
    select
        bars.symbol,
        bars.hour_ts,
        bars.listing_segment,
        bars.high,
        bars.low,
        bars.close,
        coalesce(bars.vwap_quote, bars.vwap) as entry_price,
        metrics.oi_open_interest as open_interest
    from bars
    left join metrics
        on
            bars.symbol = metrics.symbol
            and bars.hour_ts = metrics.hour_ts
)

select * from final
