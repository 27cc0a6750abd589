{% macro transform_rows(name) %}
    {{- return(name[name.rstrip('0123456789') | length:] | int) -}}
{% endmacro %}
