{{ config(materialized='monthly', partition_by='month') }}

with
last_price as (
    select * from {{ ref('int_klines_1m') }}
    where {{ in_batch('month') }}
),

mark_price as (
    select * from {{ ref('int_mark_price_klines_1m') }}
    where {{ in_batch('month') }}
),

index_price as (
    select * from {{ ref('int_index_price_klines_1m') }}
    where {{ in_batch('month') }}
),

-- Only the last five minutes of an hour can close it.
tails as (
    select
        symbol,
        hour_ts,
        open_time,
        close as last_close,
        cast(null as double) as mark_close,
        cast(null as double) as index_close
    from last_price
    where is_valid and minute_of_hour >= 55
    union all
    select
        symbol,
        hour_ts,
        open_time,
        cast(null as double) as last_close,
        close as mark_close,
        cast(null as double) as index_close
    from mark_price
    where is_valid and minute_of_hour >= 55
    union all
    select
        symbol,
        hour_ts,
        open_time,
        cast(null as double) as last_close,
        cast(null as double) as mark_close,
        close as index_close
    from index_price
    where is_valid and minute_of_hour >= 55
),

minutes as (
    select
        symbol,
        hour_ts,
        open_time,
        max(last_close) as last_close,
        max(mark_close) as mark_close,
        max(index_close) as index_close
    from tails
    group by symbol, hour_ts, open_time
),

compared as (
    select
        *,
        {{ safe_div('last_close - index_close', 'index_close') }} as basis,
        {{ safe_div('mark_close - index_close', 'index_close') }} as mark_basis,
        {{ safe_div('last_close - mark_close', 'mark_close') }} as last_mark_dev
    from minutes
),

final as (
    select
        symbol,
        hour_ts,
        {{ latest('mark_close', 'open_time') }} as mark_close,
        {{ latest('index_close', 'open_time') }} as index_close,
        {{ latest('basis', 'open_time') }} as basis,
        {{ latest('mark_basis', 'open_time') }} as mark_basis,
        {{ latest('last_mark_dev', 'open_time') }} as last_mark_dev
    from compared
    group by symbol, hour_ts
)

select * from final
