{%- set transforms = var('transforms') -%}
{%- set marts = transforms | map(attribute='mart') | unique | list -%}

{{ config(materialized='hourly', meta={'hours_before': 174}) }}

with
{% for mart in marts %}
{{ mart }} as (
    select * from {{ ref(mart) }}
    where {{ in_reach('hour_ts') }}
),

{% endfor %}
spine as (
    select * from {{ ref('int_hourly_spine') }}
    where {{ in_reach('hour_ts') }}
),

mapped as (
    select
        {% for line in transforms %}
        {{ transform_map(line.map, line.mart ~ '.' ~ line.factor) }} as {{ line.factor }},
        {% endfor %}
        spine.symbol,
        spine.hour_ts,
        spine.bar_end_time,
        spine.feature_time,
        spine.has_bar,
        spine.listing_segment
    from spine
    {% for mart in marts %}
    left join {{ mart }}
        on
            spine.symbol = {{ mart }}.symbol
            and spine.hour_ts = {{ mart }}.hour_ts
    {% endfor %}
),

framed as (
    select
        {% for line in transforms %}
        {% for name in line.transforms %}
        {{ transform('frame', name, line.factor) }},
        {% endfor %}
        {% endfor %}
        *
    from mapped
    window
        {% for rows in transform_rows() %}
        to_{{ rows }} as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between {{ rows - 1 }} preceding and current row
        ),
        before_{{ rows }} as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between {{ rows }} preceding and 1 preceding
        ),
        {% endfor %}
        last_6 as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between 5 preceding and current row
        ),
        before_last_6 as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between 173 preceding and 6 preceding
        ),
        by_hour as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
        )
),

transformed as (
    select
        {% for line in transforms %}
        {% for name in line.transforms %}
        {{ transform('value', name, line.factor) }} as g_{{ name }}_{{ line.factor }},
        {% endfor %}
        {% endfor %}
        symbol,
        hour_ts,
        bar_end_time,
        feature_time,
        has_bar,
        listing_segment
    from framed
),

final as (
    select
        symbol,
        hour_ts,
        bar_end_time,
        feature_time,
        has_bar,
        listing_segment,
        {% for column in transform_columns() %}
        {{ finite(column) }} as {{ column }}{{ ',' if not loop.last }}
        {% endfor %}
    from transformed
)

select * from final
