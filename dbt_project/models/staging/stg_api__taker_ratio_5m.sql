with
source as (
    select * from {{ source('api', 'taker_ratio_5m') }}
),

final as (
    select
        cast(symbol as string) as symbol,
        cast(month as string) as month,
        cast(timestamp as timestamp) as period_end_ts,
        {{ finite('buy_sell_ratio') }} as taker_vol_ratio,
        {{ finite('buy_volume') }} as taker_buy_volume,
        {{ finite('sell_volume') }} as taker_sell_volume
    from source
)

select * from final
