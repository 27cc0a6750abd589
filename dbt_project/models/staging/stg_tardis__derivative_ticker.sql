with
source as (
    select * from {{ source('tardis', 'derivative_ticker') }}
),

final as (
    select
        cast(contract as string) as symbol,
        cast(month as string) as month,
        cast(local_timestamp as timestamp) as receive_time,
        date_trunc('hour', cast(local_timestamp as timestamp)) as hour_ts,
        cast(timestamp as timestamp) as event_time,
        {{ finite('last_price') }} as last_price,
        {{ finite('mark_price') }} as mark_price,
        {{ finite('index_price') }} as index_price,
        {{ finite('open_interest') }} as open_interest,
        {{ finite('funding_rate') }} as funding_rate_estimate,
        cast(funding_timestamp as timestamp) as next_funding_time
    from source
)

select * from final
