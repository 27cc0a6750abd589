with
source as (
    select * from {{ source('stream', 'liquidations') }}
),

final as (
    select
        cast(contract as string) as symbol,
        cast(month as string) as month,
        cast(trade_time as timestamp) as event_time,
        cast(event_time as timestamp) as sent_time,
        cast(receive_time as timestamp) as receive_time,
        cast(side as string) as side,
        cast(order_type as string) as order_type,
        cast(time_in_force as string) as time_in_force,
        cast(order_status as string) as order_status,
        {{ finite('price') }} as price,
        {{ finite('average_price') }} as average_price,
        {{ finite('original_quantity') }} as original_quantity,
        {{ finite('last_fill_quantity') }} as last_fill_quantity,
        {{ finite('accumulated_fill_quantity') }} as accumulated_fill_quantity,
        cast(connection as string) as connection
    from source
)

select * from final
