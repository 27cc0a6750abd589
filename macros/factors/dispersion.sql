{% macro dispersion(deviations) -%}
    sqrt({{ vector_dot(deviations, deviations) }} / nullif({{ vector_size(deviations) }}, 0))
{%- endmacro %}
