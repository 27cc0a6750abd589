{{ config(materialized='view') }}

with
archive as (
    select * from {{ ref('stg_vision__klines_1m') }}
),

pulled as (
    select * from {{ ref('stg_api__klines_1m') }}
),

-- Named apart from the rows above, so that no engine keeps those in memory to use them twice. The
-- month is part of the join so that both sides are read only where the other one has rows.
held as (
    select
        symbol,
        month,
        open_time
    from {{ ref('stg_vision__klines_1m') }}
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
        minute_of_hour,
        open,
        high,
        low,
        close,
        volume,
        quote_volume,
        trade_count,
        taker_buy_volume,
        taker_buy_quote_volume,
        close_time,
        is_valid,
        is_active,
        'archive' as source
    from archive
    union all
    select
        symbol,
        month,
        open_time,
        hour_ts,
        minute_of_hour,
        open,
        high,
        low,
        close,
        volume,
        quote_volume,
        trade_count,
        taker_buy_volume,
        taker_buy_quote_volume,
        close_time,
        is_valid,
        is_active,
        'api' as source
    from missing
)

select * from final
