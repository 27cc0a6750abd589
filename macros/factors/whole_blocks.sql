{% macro whole_blocks(rows, newest, size) %}
    {{- return((rows - size + newest) // size) -}}
{% endmacro %}
