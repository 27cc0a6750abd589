{% macro exact_sum(x, condition=none, scale=16) -%}
    {%- set value = x if condition is none else 'case when ' ~ condition ~ ' then ' ~ x ~ ' end' -%}
    cast(sum(cast({{ value }} as decimal(38, {{ scale }}))) as double)
{%- endmacro %}
