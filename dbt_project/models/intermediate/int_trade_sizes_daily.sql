{{ config(materialized='monthly', partition_by='month') }}

with
sizes as (
    select * from {{ ref('stg_vision__agg_trade_sizes_1h') }}
    where {{ in_batch('month') }}
),

positions as (
    select
        symbol,
        cast(hour_ts as date) as day,
        bins,
        counts,
        {{ explode(vector_positions('bins')) }} as position
    from sizes
),

items as (
    select
        symbol,
        day,
        {{ vector_item('bins', 'position') }} as bin,
        {{ vector_item('counts', 'position') }} as n
    from positions
),

final as (
    select
        symbol,
        day,
        cast(bin as int) as bin,
        cast(sum(n) as bigint) as n
    from items
    group by symbol, day, bin
)

select * from final
