{% macro safe_div(a, b) -%}
    (({{ a }}) / nullif(case when {{ is_finite(b) }} then {{ b }} end, 0))
{%- endmacro %}
