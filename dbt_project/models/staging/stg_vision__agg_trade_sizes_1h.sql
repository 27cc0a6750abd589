with
source as (
    select * from {{ source('vision', 'agg_trade_sizes_1h') }}
),

final as (
    select
        cast(symbol as string) as symbol,
        cast(month as string) as month,
        cast(hour_ts as timestamp) as hour_ts,
        cast(side as string) as side,
        bin as bins,
        n as counts,
        quote as quotes
    from source
)

select * from final
