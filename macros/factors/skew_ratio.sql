{% macro skew_ratio(m2, m3, m4) -%}
    ({{ m3 }} * sqrt({{ m2 }}) / nullif({{ m4 }}, 0e0))
{%- endmacro %}
