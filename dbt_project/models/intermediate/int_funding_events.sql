with
archive as (
    select * from {{ ref('stg_vision__funding_rate') }}
),

pulled as (
    select * from {{ ref('stg_api__funding_rate') }}
),

missing as (
    select pulled.*
    from pulled
    left join archive
        on
            pulled.symbol = archive.symbol
            and pulled.settle_time = archive.settle_time
    where archive.symbol is null
),

final as (
    select
        symbol,
        settle_time,
        funding_interval_hours,
        funding_rate,
        'archive' as source
    from archive
    union all
    select
        symbol,
        settle_time,
        cast(null as int) as funding_interval_hours,
        funding_rate,
        'api' as source
    from missing
)

select * from final
