{% macro vector_max(vector) %}
    {{- return(adapter.dispatch('vector_max')(vector)) -}}
{% endmacro %}

{% macro default__vector_max(vector) -%}
    list_max({{ vector }})
{%- endmacro %}

{% macro spark__vector_max(vector) -%}
    array_max({{ vector }})
{%- endmacro %}
