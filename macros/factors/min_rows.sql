{% macro min_rows(rows) -%}
    {{ (3 * rows + 3) // 4 }}
{%- endmacro %}
