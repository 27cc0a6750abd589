{% macro safe_ln(x) -%}
    ln(case when {{ x }} > 0 then {{ x }} end)
{%- endmacro %}
