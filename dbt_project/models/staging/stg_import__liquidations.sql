with
source as (
    select * from {{ source('import', 'liquidations') }}
),

final as (
    select
        cast(contract as string) as symbol,
        cast(month as string) as month,
        cast(trade_time as timestamp) as event_time,
        cast(side as string) as side,
        cast(order_type as string) as order_type,
        cast(time_in_force as string) as time_in_force,
        cast(order_status as string) as order_status,
        {{ finite('price') }} as price,
        {{ finite('average_price') }} as average_price,
        {{ finite('original_quantity') }} as original_quantity,
        {{ finite('last_fill_quantity') }} as last_fill_quantity,
        {{ finite('accumulated_fill_quantity') }} as accumulated_fill_quantity,
        {{ finite('stated_value') }} as stated_value,
        cast(file as string) as file_name
    from source
)

select * from final
