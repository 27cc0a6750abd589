{% macro vector_distinct(vector) %}
    {{- return(adapter.dispatch('vector_distinct')(vector)) -}}
{% endmacro %}

{% macro default__vector_distinct(vector) -%}
    list_distinct({{ vector }})
{%- endmacro %}

{% macro spark__vector_distinct(vector) -%}
    array_distinct({{ vector }})
{%- endmacro %}
