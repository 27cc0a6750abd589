{%- set bins_per_decade = var('hist_bins_per_decade') -%}
{#- A class takes the bins from its first to its last one, both included. -#}
{%- set classes = {
    'whale': ('whale_bin + 1', none),
    'retail': (none, 'retail_bin'),
    'whale50k': ((4.7 * bins_per_decade) | round | int, none),
    'retail1k': (none, 3 * bins_per_decade - 1),
    'all': (none, none),
} -%}
{{ config(materialized='monthly', partition_by='month') }}

-- Thresholds by {{ var('size_window_days') }} days, {{ var('size_min_days') }} of them with trades,
-- {{ var('size_min_trades') }} trades, shares {{ var('whale_q') }} and {{ var('retail_q') }}:
-- named here so that a change of these vars changes this SQL, and with it rebuilds every month.
with
sizes as (
    select * from {{ ref('stg_vision__agg_trade_sizes_1h') }}
    where {{ in_batch('month') }}
),

spine as (
    select * from {{ ref('int_hourly_spine') }}
),

thresholds as (
    select * from {{ ref('int_size_thresholds') }}
),

-- Bins ascend, so a class is one slice of the lists.
sliced as (
    select
        sizes.symbol,
        sizes.hour_ts,
        sizes.side,
        sizes.counts,
        sizes.quotes,
        {% for name, (first_bin, last_bin) in classes.items() %}
        {% if first_bin is none %}
        1 as {{ name }}_first,
        {% else %}
        1 + {{ vector_size(
            vector_filter('sizes.bins', 'b', 'b < ' ~ first_bin)
        ) }} as {{ name }}_first,
        {% endif %}
        {{ vector_size(
            'sizes.bins' if last_bin is none
            else vector_filter('sizes.bins', 'b', 'b <= ' ~ last_bin)
        ) }} as {{ name }}_last,
        {% endfor %}
        thresholds.whale_bin is not null as has_thresholds
    from sizes
    left join spine
        on
            sizes.symbol = spine.symbol
            and sizes.hour_ts = spine.hour_ts
    left join thresholds
        on
            spine.symbol = thresholds.symbol
            and spine.listing_segment = thresholds.listing_segment
            and cast(spine.hour_ts as date) = thresholds.day
),

summed as (
    select
        symbol,
        hour_ts,
        side,
        {% for name in classes %}
        {% for vector, measure in [('counts', 'count'), ('quotes', 'quote')] %}
        {% set total = vector_sum(vector_slice(vector, name ~ '_first', name ~ '_last')) %}
        {% if name in ('whale', 'retail') %}
        case when has_thresholds then {{ total }} end as {{ name }}_{{ measure }},
        {% else %}
        {{ total }} as {{ name }}_{{ measure }},
        {% endif %}
        {% endfor %}
        {% endfor %}
        has_thresholds
    from sliced
),

final as (
    select
        symbol,
        hour_ts,
        {% for name in classes %}
        {% for side, code in [('buy', 'B'), ('sell', 'S')] %}
        {% for measure, type in [('count', 'bigint'), ('quote', 'double')] %}
        cast(
            max(case when side = '{{ code }}' then {{ name }}_{{ measure }} end) as {{ type }}
        ) as {{ name }}_{{ side }}_{{ measure }},
        {% endfor %}
        {% endfor %}
        {% endfor %}
        max(case when has_thresholds then 1 else 0 end) = 1 as has_thresholds
    from summed
    group by symbol, hour_ts
)

select * from final
