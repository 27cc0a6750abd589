{#- From this midnight on the archive labels a period by its start, so a moment after it has the
    label of five minutes before. -#}
{%- set start_labels_from = "timestamp '" ~ var('metrics_start_labels_from') ~ "'" -%}
{%- set series = {
    'open_interest_5m': ['open_interest', 'open_interest_usd'],
    'top_position_ratio_5m': ['toptrader_position_ratio'],
    'top_account_ratio_5m': ['toptrader_account_ratio'],
    'global_account_ratio_5m': ['global_account_ratio'],
    'taker_ratio_5m': ['taker_vol_ratio'],
} -%}
{%- set fields = series.values() | sum(start=[]) -%}
{{ config(materialized='view') }}

with
{% for dataset in series %}
{{ dataset }} as (
    select * from {{ ref('stg_api__' ~ dataset) }}
),

{% endfor %}
united as (
    {% for dataset, own_fields in series.items() %}
    select
        {% for field in fields %}
        {{ field if field in own_fields else 'cast(null as double)' }} as {{ field }},
        {% endfor %}
        symbol,
        period_end_ts
    from {{ dataset }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

moments as (
    select
        {% for field in fields %}
        max({{ field }}) as {{ field }},
        {% endfor %}
        symbol,
        period_end_ts,
        case
            when period_end_ts > {{ start_labels_from }} then period_end_ts - interval '5' minute
            else period_end_ts
        end as bucket_ts
    from united
    group by symbol, period_end_ts
),

-- The label of that midnight stands for two moments; the archive gives the later one.
final as (
    select
        symbol,
        period_end_ts,
        bucket_ts,
        date_trunc('hour', bucket_ts) as hour_ts,
        open_interest,
        open_interest_usd,
        toptrader_position_ratio,
        toptrader_account_ratio,
        global_account_ratio,
        taker_vol_ratio
    from moments
    where period_end_ts <> {{ start_labels_from }}
)

select * from final
