with
source as (
    select * from {{ source('vision', 'funding_rate') }}
),

typed as (
    select
        cast(symbol as string) as symbol,
        cast(month as string) as month,
        cast(calc_time as timestamp) as calc_time,
        date_trunc(
            'minute', cast(calc_time as timestamp) + interval '30' second
        ) as settle_time,
        cast(
            case when funding_interval_hours > 0 then funding_interval_hours end as int
        ) as funding_interval_hours,
        {{ finite('funding_rate') }} as funding_rate
    from source
),

ranked as (
    select
        *,
        row_number() over (
            partition by symbol, settle_time
            order by calc_time desc nulls last, month desc nulls last
        ) as recency
    from typed
),

final as (
    select
        symbol,
        month,
        settle_time,
        calc_time,
        funding_interval_hours,
        funding_rate
    from ranked
    where recency = 1
)

select * from final
