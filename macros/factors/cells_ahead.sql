{% macro cells_ahead(position, size) %}
    {%- set cells = [] -%}
    {%- for ahead in range(6) -%}
        {%- do cells.append(block_cell(position + ahead, size)) -%}
    {%- endfor -%}
    {{- return(cells) -}}
{% endmacro %}
