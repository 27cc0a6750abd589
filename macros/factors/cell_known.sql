{% macro cell_known(prefix, cell) -%}
    {{ 'coalesce(' ~ cell_name('x', cell) ~ ', 0e0)' if prefix == 'x' else cell_name(prefix, cell) }}
{%- endmacro %}
