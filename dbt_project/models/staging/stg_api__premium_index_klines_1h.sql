with
source as (
    select * from {{ source('api', 'premium_index_klines_1h') }}
),

final as (
    select
        cast(symbol as string) as symbol,
        cast(month as string) as month,
        cast(open_time as timestamp) as open_time,
        date_trunc('hour', cast(open_time as timestamp)) as hour_ts,
        cast(open as double) as open,
        cast(high as double) as high,
        cast(low as double) as low,
        cast(close as double) as close,
        cast(close_time as timestamp) as close_time,
        coalesce(
            {{ is_finite('open') }}
            and {{ is_finite('high') }}
            and {{ is_finite('low') }}
            and {{ is_finite('close') }},
            false
        ) as is_valid
    from source
)

select * from final
