{{ config(materialized='monthly') }}

with
minutes as (
    select * from {{ ref('int_klines_1m') }}
    where {{ in_batch('month') }}
),

final as (
    select
        symbol,
        {{ bar_start('open_time', var('liq_bar_minutes')) }} as bar_ts,
        {{ exact_sum('coalesce(quote_volume, volume * (high + low + close) / 3e0)') }}
            as quote_volume
    from minutes
    where is_valid
    group by symbol, {{ bar_start('open_time', var('liq_bar_minutes')) }}
)

select * from final
