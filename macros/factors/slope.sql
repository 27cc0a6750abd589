{% macro slope(y, x) -%}
    ({{ vector_dot(x, y) }} / nullif({{ vector_dot(x, x) }}, 0e0))
{%- endmacro %}
