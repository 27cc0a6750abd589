{% macro bar_keys(grid, minutes) -%}
    {{ grid }}.symbol,
        {{ grid }}.bar_ts as {{ 'hour_ts' if minutes == 60 else 'bar_ts' }},
        {{ grid }}.bar_ts + interval '{{ minutes }}' minute as bar_end_time,
        {{ grid }}.bar_ts + interval '{{ minutes }}' minute + interval '1' millisecond as feature_time,
        {{ grid }}.has_bar,
        {{ grid }}.listing_segment
{%- endmacro %}
