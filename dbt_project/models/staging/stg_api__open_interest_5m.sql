with
source as (
    select * from {{ source('api', 'open_interest_5m') }}
),

final as (
    select
        cast(symbol as string) as symbol,
        cast(month as string) as month,
        cast(timestamp as timestamp) as period_end_ts,
        case
            when sum_open_interest > 0 then {{ finite('sum_open_interest') }}
        end as open_interest,
        case
            when sum_open_interest_value > 0 then {{ finite('sum_open_interest_value') }}
        end as open_interest_usd
    from source
)

select * from final
