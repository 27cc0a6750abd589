{#- Ten thousand squares of it have at most 38 digits. -#}
{% macro steady_limit(scale) %}
    {{- return(10 ** ((38 - scale) / 2 - 2)) -}}
{% endmacro %}
