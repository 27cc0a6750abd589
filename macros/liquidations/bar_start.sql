{% macro bar_start(time, minutes) -%}
    date_trunc('hour', {{ time }})
        + cast(floor(extract(minute from {{ time }}) / {{ minutes }}) as int) * {{ minutes }} * interval '1' minute
{%- endmacro %}
