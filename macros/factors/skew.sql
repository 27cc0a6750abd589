{% macro skew(m2, m3, n) -%}
    (
            {{ m3 }} / nullif(power({{ m2 }}, 1.5e0), 0e0)
            * sqrt({{ n }} * ({{ n }} - 1e0)) / ({{ n }} - 2e0)
        )
{%- endmacro %}
