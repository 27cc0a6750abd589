{{ config(materialized='monthly', partition_by='month') }}

{%- set datasets = ['mark_price_klines', 'index_price_klines', 'premium_index_klines'] -%}

with
{% for dataset in datasets %}
{{ dataset }} as (
    select * from {{ ref('int_' ~ dataset ~ '_1m') }}
    where {{ in_batch('month') }}
),

{% endfor %}
final as (
    {% for dataset in datasets %}
    select
        '{{ dataset }}' as dataset,
        symbol,
        hour_ts,
        min_by(open, open_time) as open,
        max(high) as high,
        min(low) as low,
        max_by(close, open_time) as close,
        cast(count(*) as int) as n_rows,
        cast(sum(case when source = 'api' then 1 else 0 end) as int) as n_from_api
    from {{ dataset }}
    group by symbol, hour_ts
    {{ 'union all' if not loop.last }}
    {% endfor %}
)

select * from final
