{% macro own_cells(size) %}
    {%- set cells = [] -%}
    {%- for position in range(size) -%}
        {%- do cells.append(block_cell(position, size)) -%}
    {%- endfor -%}
    {{- return(cells) -}}
{% endmacro %}
