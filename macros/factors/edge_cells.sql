{% macro edge_cells(position, rows, newest, size) %}
    {%- set whole = whole_blocks(rows, newest, size) -%}
    {%- set cells = [] -%}
    {%- for age in range(newest, newest + rows) -%}
        {%- set cell = block_cell(position - age, size) -%}
        {%- if not 1 <= cell[0] <= whole -%}
            {%- do cells.append(cell) -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(cells) -}}
{% endmacro %}
