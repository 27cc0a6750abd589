{{ config(materialized='view') }}

{%- set bar_datasets = [
    'klines_1m',
    'klines_1h',
    'mark_price_klines_1m',
    'mark_price_klines_1h',
    'index_price_klines_1m',
    'index_price_klines_1h',
    'premium_index_klines_1m',
    'premium_index_klines_1h',
] -%}

with
{% for dataset in bar_datasets %}
{{ dataset }} as (
    select * from {{ ref('int_' ~ dataset) }}
),

{% endfor %}
metrics as (
    select * from {{ ref('int_metrics') }}
),

final as (
    {% for dataset in bar_datasets %}
    select
        '{{ dataset }}' as dataset,
        symbol,
        month,
        open_time as slot_ts,
        source
    from {{ dataset }}
    union all
    {% endfor %}
    select
        'metrics' as dataset,
        symbol,
        substr(cast(bucket_ts as string), 1, 7) as month,
        bucket_ts as slot_ts,
        source
    from metrics
    -- ratios alone do not make a slot
    where
        source = 'archive'
        or open_interest is not null
)

select * from final
