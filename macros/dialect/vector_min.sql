{% macro vector_min(vector) %}
    {{- return(adapter.dispatch('vector_min')(vector)) -}}
{% endmacro %}

{% macro default__vector_min(vector) -%}
    list_min({{ vector }})
{%- endmacro %}

{% macro spark__vector_min(vector) -%}
    array_min({{ vector }})
{%- endmacro %}
