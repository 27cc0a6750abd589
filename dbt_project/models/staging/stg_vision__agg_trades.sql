with
source as (
    select * from {{ source('vision', 'agg_trades') }}
),

final as (
    select
        cast(symbol as string) as symbol,
        cast(month as string) as month,
        cast(agg_trade_id as bigint) as agg_trade_id,
        cast(transact_time as timestamp) as transact_time,
        date_trunc('hour', cast(transact_time as timestamp)) as hour_ts,
        cast(price as double) as price,
        cast(quantity as double) as quantity,
        cast(first_trade_id as bigint) as first_trade_id,
        cast(last_trade_id as bigint) as last_trade_id,
        case when is_buyer_maker then 'S' else 'B' end as side,
        price > 0
        and quantity > 0
        and {{ is_finite('price') }}
        and {{ is_finite('quantity') }} as is_sound
    from source
)

select * from final
