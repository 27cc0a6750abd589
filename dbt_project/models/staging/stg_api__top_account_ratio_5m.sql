with
source as (
    select * from {{ source('api', 'top_account_ratio_5m') }}
),

final as (
    select
        cast(symbol as string) as symbol,
        cast(month as string) as month,
        cast(timestamp as timestamp) as period_end_ts,
        nullif({{ finite('long_short_ratio') }}, 0) as toptrader_account_ratio,
        {{ finite('long_share') }} as long_share,
        {{ finite('short_share') }} as short_share
    from source
)

select * from final
