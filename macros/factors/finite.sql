{% macro finite(x) -%}
    cast(case when {{ is_finite(x) }} then {{ x }} end as double)
{%- endmacro %}
