{% macro liquidation_bars(minutes) -%}
{%- set sides = ['long', 'short'] -%}
{%- set lookbacks = var('liq_lb') -%}
with
labels as (
    select * from {{ ref('int_liquidation_labels') }}
),

thresholds as (
    select * from {{ ref('int_liquidation_thresholds') }}
),

covered_hours as (
    select
        thresholds.*
    from thresholds
    inner join {{ ref('liq_feed_coverage') }} as coverage
        on
            thresholds.symbol = coverage.symbol
            and thresholds.hour_ts = coverage.hour_ts
    where coverage.ok
),

covered_bars as (
    {{ bar_grid('covered_hours', minutes) }}
),

-- Values in their order, so that what is made of them does not depend on how they were found.
summed as (
    select
        symbol,
        {{ bar_start('available_time', minutes) }} as bar_ts,
        {% for side in sides %}
        {% set of_side = "liquidated_position = '" ~ side ~ "'" %}
        {{ exact_sum('value', of_side) }} as {{ side }}_liq_volume,
        {{ exact_sum('quantity', of_side) }} as {{ side }}_liq_qty,
        count(*) filter (where {{ of_side }}) as {{ side }}_liq_count,
        max(value) filter (where {{ of_side }}) as {{ side }}_liq_max,
        min(value) filter (where {{ of_side }}) as {{ side }}_liq_min,
        {{ vector_of('value order by value nulls last') }} filter (where {{ of_side }})
            as {{ side }}_values,
        {% for lb in lookbacks %}
        {% for size in ('large', 'small', 'med') %}
        {% set of_size = of_side ~ ' and size_lb' ~ lb ~ " = '" ~ size ~ "'" %}
        {{ exact_sum('value', of_size) }} as sum_{{ side }}_{{ size }}_lb{{ lb }},
        count(*) filter (where {{ of_size }}) as count_{{ side }}_{{ size }}_lb{{ lb }},
        {% endfor %}
        {% endfor %}
        {% endfor %}
        count(*) as n_events
    from labels
    group by symbol, {{ bar_start('available_time', minutes) }}
),

meant as (
    select
        *,
        {% for side in sides %}
        {{ vector_mean(side ~ '_values') }} as {{ side }}_mean{{ ',' if not loop.last }}
        {% endfor %}
    from summed
),

moments as (
    select
        *,
        {% for side in sides %}
        {% for power in (2, 3, 4) %}
        {{ vector_sum(vector_map(
            side ~ '_values', 'v', 'power(v - ' ~ side ~ '_mean, ' ~ power ~ ')'
        )) }} / {{ side }}_liq_count as {{ side }}_m{{ power }},
        {% endfor %}
        {{ side }}_liq_count >= 5 and {{ side }}_liq_min < {{ side }}_liq_max as {{ side }}_has_shape
        {{- ',' if not loop.last }}
        {% endfor %}
    from meant
),

final as (
    select
        covered_bars.symbol,
        covered_bars.listing_segment,
        covered_bars.hour_ts,
        covered_bars.bar_ts,
        {% for side in sides %}
        coalesce(moments.{{ side }}_liq_volume, 0e0) as {{ side }}_liq_volume,
        coalesce(moments.{{ side }}_liq_qty, 0e0) as {{ side }}_liq_qty,
        cast(coalesce(moments.{{ side }}_liq_count, 0) as bigint) as {{ side }}_liq_count,
        coalesce(moments.{{ side }}_liq_max, 0e0) as {{ side }}_liq_max,
        case
            when moments.{{ side }}_has_shape
                then {{ skew(
                    'moments.' ~ side ~ '_m2', 'moments.' ~ side ~ '_m3', 'moments.' ~ side ~ '_liq_count'
                ) }}
        end as skew_{{ side }},
        case
            when moments.{{ side }}_has_shape
                then {{ kurt(
                    'moments.' ~ side ~ '_m2', 'moments.' ~ side ~ '_m4', 'moments.' ~ side ~ '_liq_count'
                ) }}
        end as kurt_{{ side }},
        {% endfor %}
        {% for name in liquidation_names().buckets %}
        case
            when covered_bars.large_{{ name.split('_') | last }} is not null
                then {{ 'cast(coalesce(moments.' ~ name ~ ', 0) as bigint)'
                    if name.startswith('count') else 'coalesce(moments.' ~ name ~ ', 0e0)' }}
        end as {{ name }}{{ ',' if not loop.last }}
        {% endfor %}
    from covered_bars
    left join moments
        on
            covered_bars.symbol = moments.symbol
            and covered_bars.bar_ts = moments.bar_ts
)

select * from final
{%- endmacro %}
