{%- set fields = [
    'last_price',
    'mark_price',
    'index_price',
    'open_interest',
    'funding_rate_estimate',
    'next_funding_time',
] -%}
{{ config(
    materialized='monthly',
    meta={'lake_inputs': ['tardis/derivative_ticker']}
) }}

with
ticks as (
    select * from {{ ref('stg_tardis__derivative_ticker') }}
    where {{ in_batch('month') }}
),

-- Of values that arrived at one moment the largest counts, so that the order of rows does not.
final as (
    select
        symbol,
        hour_ts,
        {% for field in fields %}
        {{ latest(field, ordered_pair('receive_time', field)) }} as {{ field }},
        {% endfor %}
        cast(count(*) as bigint) as n_rows
    from ticks
    group by symbol, hour_ts
)

select * from final
