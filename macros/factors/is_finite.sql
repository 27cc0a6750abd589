{% macro is_finite(x) -%}
    (abs({{ x }}) < cast('Infinity' as double))
{%- endmacro %}
