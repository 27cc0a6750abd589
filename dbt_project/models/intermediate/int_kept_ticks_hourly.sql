{{ config(materialized='monthly', partition_by='month') }}

with
ticks as (
    select * from {{ ref('stg_vision__agg_trades') }}
    where {{ in_batch('month') }}
),

final as (
    select
        symbol,
        hour_ts,
        cast(count(*) as bigint) as trade_count,
        {{ exact_sum('quantity') }} as base_volume,
        {{ exact_sum('price * quantity') }} as quote_volume
    from ticks
    where is_sound
    group by symbol, hour_ts
)

select * from final
