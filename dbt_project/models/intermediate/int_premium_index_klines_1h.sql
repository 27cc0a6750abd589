{{ config(materialized='view') }}

with
archive as (
    select * from {{ ref('stg_vision__premium_index_klines_1h') }}
),

pulled as (
    select * from {{ ref('stg_api__premium_index_klines_1h') }}
),

-- Named apart from the rows above, so that no engine keeps those in memory to use them twice. The
-- month is part of the join so that both sides are read only where the other one has rows.
held as (
    select
        symbol,
        month,
        open_time
    from {{ ref('stg_vision__premium_index_klines_1h') }}
),

missing as (
    select pulled.*
    from pulled
    left join held
        on
            pulled.symbol = held.symbol
            and pulled.month = held.month
            and pulled.open_time = held.open_time
    where held.symbol is null
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
