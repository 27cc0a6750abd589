with
source as (
    select * from {{ source('api', 'funding_info') }}
),

final as (
    select
        cast(contract as string) as symbol,
        cast(month as string) as month,
        cast(snapshot_time as timestamp) as snapshot_time,
        cast(funding_interval_hours as int) as funding_interval_hours,
        {{ finite('rate_cap') }} as rate_cap,
        {{ finite('rate_floor') }} as rate_floor
    from source
)

select * from final
