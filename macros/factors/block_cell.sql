{#- A cell is how many blocks back a row stands, and where in that block. -#}
{% macro block_cell(offset, size) %}
    {{- return((-(offset // size), offset % size)) -}}
{% endmacro %}
