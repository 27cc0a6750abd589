{% macro liquidation_bars(minutes) -%}
{%- set sides = ['long', 'short'] -%}
{%- set lookbacks = var('liq_lb') -%}
with
labels as (
    select * from {{ ref('int_liquidation_labels') }}
    where {{ in_reach('hour_ts') }}
),

thresholds as (
    select * from {{ ref('int_liquidation_thresholds') }}
    where {{ in_reach('hour_ts') }}
),

hour_sources as (
    select * from {{ ref('int_liquidation_sources') }}
),

feeds as (
    select
        symbol,
        listing_segment,
        min(hour_ts) as first_covered_ts
    from hour_sources
    group by symbol, listing_segment
),

-- Hours that no source covers are rows too, or windows would not follow the calendar; but there is
-- nothing to look at before the first one that is covered.
fed_hours as (
    select
        thresholds.*,
        hour_sources.symbol is not null as is_covered
    from thresholds
    inner join feeds
        on
            thresholds.symbol = feeds.symbol
            and thresholds.listing_segment = feeds.listing_segment
            and thresholds.hour_ts >= feeds.first_covered_ts
    left join hour_sources
        on
            thresholds.symbol = hour_sources.symbol
            and thresholds.hour_ts = hour_sources.hour_ts
),

grid as (
    {{ bar_grid('fed_hours', minutes) }}
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
        {{ sorted_vector_of('value', of_side) }} as {{ side }}_values,
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
        )) }} / nullif({{ side }}_liq_count, 0) as {{ side }}_m{{ power }},
        {% endfor %}
        {{ side }}_liq_count >= 5 and {{ side }}_liq_min < {{ side }}_liq_max as {{ side }}_has_shape
        {{- ',' if not loop.last }}
        {% endfor %}
    from meant
),

final as (
    select
        grid.symbol,
        grid.listing_segment,
        grid.hour_ts,
        grid.bar_ts,
        grid.is_covered,
        {% for side in sides %}
        {% for name in ('volume', 'qty', 'count', 'max') %}
        {% set column = side ~ '_liq_' ~ name %}
        case when grid.is_covered then coalesce(moments.{{ column }}, 0) end as {{ column }},
        {% endfor %}
        {% for name, moment in (('skew', skew), ('kurt', kurt)) %}
        case
            when moments.{{ side }}_has_shape
                then {{ moment(
                    'moments.' ~ side ~ '_m2',
                    'moments.' ~ side ~ ('_m3' if name == 'skew' else '_m4'),
                    'moments.' ~ side ~ '_liq_count'
                ) }}
        end as {{ name }}_{{ side }},
        {% endfor %}
        {% endfor %}
        {% for name in liquidation_names().buckets %}
        case
            when grid.is_covered and grid.large_{{ name.split('_') | last }} is not null
                then coalesce(moments.{{ name }}, 0)
        end as {{ name }}{{ ',' if not loop.last }}
        {% endfor %}
    from grid
    left join moments
        on
            grid.symbol = moments.symbol
            and grid.bar_ts = moments.bar_ts
)

select * from final
{%- endmacro %}
