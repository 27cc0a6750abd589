with
source as (
    select * from {{ source('api', 'premium_index') }}
),

final as (
    select
        cast(contract as string) as symbol,
        cast(month as string) as month,
        cast(snapshot_time as timestamp) as snapshot_time,
        cast(time as timestamp) as published_time,
        {{ finite('mark_price') }} as mark_price,
        {{ finite('index_price') }} as index_price,
        {{ finite('estimated_settle_price') }} as estimated_settle_price,
        {{ finite('last_funding_rate') }} as funding_rate_estimate,
        {{ finite('interest_rate') }} as interest_rate,
        cast(next_funding_time as timestamp) as next_funding_time
    from source
)

select * from final
