with
source as (
    select * from {{ source('tardis', 'liquidations') }}
),

final as (
    select
        cast(contract as string) as symbol,
        cast(month as string) as month,
        cast(timestamp as timestamp) as event_time,
        cast(local_timestamp as timestamp) as receive_time,
        cast(id as string) as event_id,
        upper(cast(side as string)) as side,
        case
            when local_timestamp >= timestamp '2023-01-23' then {{ finite('price') }}
        end as price,
        case
            when local_timestamp < timestamp '2023-01-23' then {{ finite('price') }}
        end as average_price,
        {{ finite('amount') }} as quantity
    from source
)

select * from final
