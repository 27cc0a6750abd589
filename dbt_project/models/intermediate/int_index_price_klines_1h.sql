{{ config(materialized='view') }}

with
archive as (
    select * from {{ ref('stg_vision__index_price_klines_1h') }}
),

pulled as (
    select * from {{ ref('stg_api__index_price_klines_1h') }}
),

-- The month is part of the join so that both sides are read only where the other one has rows.
missing as (
    select pulled.*
    from pulled
    left join archive
        on
            pulled.symbol = archive.symbol
            and pulled.month = archive.month
            and pulled.open_time = archive.open_time
    where archive.symbol is null
),

final as (
    select
        symbol,
        month,
        open_time,
        hour_ts,
        open,
        high,
        low,
        close,
        close_time,
        is_valid,
        'archive' as source
    from archive
    union all
    select
        symbol,
        month,
        open_time,
        hour_ts,
        open,
        high,
        low,
        close,
        close_time,
        is_valid,
        'api' as source
    from missing
)

select * from final
