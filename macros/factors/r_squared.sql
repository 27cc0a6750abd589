{% macro r_squared(y, x) -%}
    (
            power({{ vector_dot(x, y) }}, 2)
            / nullif({{ vector_dot(x, x) }} * {{ vector_dot(y, y) }}, 0e0)
        )
{%- endmacro %}
