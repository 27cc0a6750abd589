{% macro latest(x, t) -%}
    max_by({{ x }}, case when {{ x }} is not null then {{ t }} end)
{%- endmacro %}
