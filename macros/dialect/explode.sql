{% macro explode(column) %}
    {{- return(adapter.dispatch('explode')(column)) -}}
{% endmacro %}

{% macro default__explode(column) -%}
    unnest({{ column }})
{%- endmacro %}

{% macro spark__explode(column) -%}
    explode({{ column }})
{%- endmacro %}
