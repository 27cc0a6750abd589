with
source as (
    select * from {{ source('api', 'open_interest') }}
),

final as (
    select
        cast(contract as string) as symbol,
        cast(month as string) as month,
        cast(snapshot_time as timestamp) as snapshot_time,
        cast(time as timestamp) as published_time,
        {{ finite('open_interest') }} as open_interest
    from source
)

select * from final
