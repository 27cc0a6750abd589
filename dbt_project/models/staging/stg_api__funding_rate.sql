with
source as (
    select * from {{ source('api', 'funding_rate') }}
),

typed as (
    select
        cast(symbol as string) as symbol,
        cast(month as string) as month,
        cast(funding_time as timestamp) as funding_time,
        date_trunc(
            'minute', cast(funding_time as timestamp) + interval '30' second
        ) as settle_time,
        {{ finite('funding_rate') }} as funding_rate,
        {{ finite('mark_price') }} as mark_price,
        cast(rate_type as string) as rate_type
    from source
),

ranked as (
    select
        *,
        row_number() over (
            partition by symbol, settle_time
            order by funding_time desc nulls last, month desc nulls last
        ) as recency
    from typed
),

final as (
    select
        symbol,
        month,
        settle_time,
        funding_time,
        funding_rate,
        mark_price,
        rate_type
    from ranked
    where recency = 1
)

select * from final
