{{ config(materialized='monthly', partition_by='month') }}

{%- set bar_minutes = var('liq_bar_minutes') %}

with
hours as (
    select * from {{ ref('int_klines_hourly') }}
    where {{ in_batch('month') }}
),

exploded as (
    select
        symbol,
        hour_ts,
        bar_quote_volumes,
        {{ explode(vector_range(0, 60 // bar_minutes)) }} as n_before
    from hours
),

bars as (
    select
        symbol,
        hour_ts + n_before * interval '{{ bar_minutes }}' minute as bar_ts,
        {{ vector_item('bar_quote_volumes', 'n_before + 1') }} as quote_volume
    from exploded
),

final as (
    select
        symbol,
        bar_ts,
        quote_volume
    from bars
    where quote_volume is not null
)

select * from final
