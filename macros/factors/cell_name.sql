{% macro cell_name(prefix, cell) %}
    {{- return((prefix ~ '_' ~ cell[0] ~ '_' ~ cell[1]) | replace('-', 'next')) -}}
{% endmacro %}
