{% macro transform_names() %}
    {{- return(var('transforms') | map(attribute='transforms') | sum(start=[]) | unique | list) -}}
{% endmacro %}
