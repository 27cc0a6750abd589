{{ config(materialized='monthly', partition_by='month') }}

with
last_price as (
    select * from {{ ref('int_klines_1m') }}
    where {{ in_batch('month') }}
),

index_price as (
    select * from {{ ref('int_index_price_klines_1m') }}
    where {{ in_batch('month') }}
),

minutes as (
    select
        last_price.symbol,
        last_price.hour_ts,
        {{ finite(safe_div(
            'last_price.close - index_price.close', 'index_price.close'
        )) }} as basis
    from last_price
    inner join index_price
        on
            last_price.symbol = index_price.symbol
            and last_price.open_time = index_price.open_time
    where last_price.is_valid and index_price.is_valid
),

final as (
    select
        symbol,
        hour_ts,
        cast(count(basis) as int) as n_minutes,
        {{ exact_sum('basis', scale=20) }} / nullif(count(basis), 0) as basis_mean,
        stddev_pop(basis) as basis_std
    from minutes
    group by symbol, hour_ts
)

select * from final
