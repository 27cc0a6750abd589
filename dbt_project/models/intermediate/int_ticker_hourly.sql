{%- set fields = [
    'last_price',
    'mark_price',
    'index_price',
    'open_interest',
    'funding_rate_estimate',
    'next_funding_time',
] -%}
{{ config(materialized='monthly', partition_by='month') }}

with
ticks as (
    select * from {{ ref('stg_tardis__derivative_ticker') }}
    where {{ in_batch('month') }}
),

last_moments as (
    select
        symbol,
        hour_ts,
        {% for field in fields %}
        max(case when {{ field }} is not null then receive_time end) as {{ field }}_time,
        {% endfor %}
        count(*) as n_rows
    from ticks
    group by symbol, hour_ts
),

-- Of values that arrived at one moment the largest counts, so that the order of rows does not.
final as (
    select
        ticks.symbol,
        ticks.hour_ts,
        {% for field in fields %}
        max(
            case when ticks.receive_time = last_moments.{{ field }}_time then ticks.{{ field }} end
        ) as {{ field }},
        {% endfor %}
        cast(max(last_moments.n_rows) as bigint) as n_rows
    from ticks
    inner join last_moments
        on
            ticks.symbol = last_moments.symbol
            and ticks.hour_ts = last_moments.hour_ts
    group by ticks.symbol, ticks.hour_ts
)

select * from final
