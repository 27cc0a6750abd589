{% macro kurt(m2, m4, n) -%}
    (
            ({{ n }} - 1e0) / (({{ n }} - 2e0) * ({{ n }} - 3e0))
            * (({{ n }} + 1e0) * ({{ m4 }} / nullif(power({{ m2 }}, 2), 0e0) - 3e0) + 6e0)
        )
{%- endmacro %}
