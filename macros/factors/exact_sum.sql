{% macro exact_sum(x, condition=none, scale=16, window=none) -%}
    {%- set value = x if condition is none else 'case when ' ~ condition ~ ' then ' ~ x ~ ' end' -%}
    cast(
        sum(cast({{ value }} as decimal(38, {{ scale }}))) {{ 'over ' ~ window if window }} as double
    )
{%- endmacro %}
