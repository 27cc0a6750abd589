{% macro cells_joined(prefix, cells) -%}
    {%- for cell in cells -%}
        {{ ' + ' if not loop.first }}{{ cell_name(prefix, cell) }}
    {%- endfor -%}
{%- endmacro %}
