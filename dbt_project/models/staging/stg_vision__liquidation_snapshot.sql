with
source as (
    select * from {{ source('vision', 'liquidation_snapshot') }}
),

final as (
    select
        cast(symbol as string) as symbol,
        cast(month as string) as month,
        cast(time as timestamp) as event_time,
        date_trunc('hour', cast(time as timestamp)) as hour_ts,
        cast(side as string) as side,
        case side when 'SELL' then 'long' when 'BUY' then 'short' end as liquidated_position,
        cast(order_type as string) as order_type,
        cast(time_in_force as string) as time_in_force,
        cast(order_status as string) as order_status,
        cast(price as double) as price,
        cast(average_price as double) as average_price,
        cast(original_quantity as double) as original_quantity,
        cast(last_fill_quantity as double) as last_fill_quantity,
        cast(accumulated_fill_quantity as double) as accumulated_fill_quantity
    from source
)

select * from final
