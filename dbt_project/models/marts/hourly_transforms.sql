{%- set transforms = var('transforms') -%}
{%- set marts = transforms | map(attribute='mart') | unique | list -%}
{%- set pairs = [] -%}
{%- for line in transforms -%}
    {%- for name in line.transforms -%}
        {%- do pairs.append((name, line.factor)) -%}
    {%- endfor -%}
{%- endfor -%}

with
spine as (
    select * from {{ ref('int_hourly_spine') }}
),

{% for mart in marts %}
{{ mart }} as (
    select * from {{ ref(mart) }}
),

{% endfor %}
mapped as (
    select
        spine.symbol,
        spine.hour_ts,
        spine.bar_end_time,
        spine.feature_time,
        spine.has_bar,
        spine.listing_segment
        {%- for line in transforms %},
        {{ transform_map(line.map, line.mart ~ '.' ~ line.factor) }} as {{ line.factor }}
        {%- endfor %}
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
        *
        {%- for name, factor in pairs %},
        {{ transform('frame', name, factor) }}
        {%- endfor %}
    from mapped
    window
        by_hour as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
        ),
        last_6 as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between 5 preceding and current row
        ),
        before_last_6 as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between 173 preceding and 6 preceding
        )
        {%- for rows in transform_rows() %},
        to_{{ rows }} as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between {{ rows - 1 }} preceding and current row
        ),
        before_{{ rows }} as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between {{ rows }} preceding and 1 preceding
        )
        {%- endfor %}
),

transformed as (
    select
        symbol,
        hour_ts,
        bar_end_time,
        feature_time,
        has_bar,
        listing_segment
        {%- for name, factor in pairs %},
        {{ transform('value', name, factor) }} as g_{{ name }}_{{ factor }}
        {%- endfor %}
    from framed
),

final as (
    select
        symbol,
        hour_ts,
        bar_end_time,
        feature_time,
        has_bar,
        listing_segment
        {%- for column in transform_columns() %},
        {{ finite(column) }} as {{ column }}
        {%- endfor %}
    from transformed
)

select * from final
