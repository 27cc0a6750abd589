{% macro vector_map(vector, item, expression) %}
    {{- return(adapter.dispatch('vector_map')(vector, item, expression)) -}}
{% endmacro %}

{% macro default__vector_map(vector, item, expression) -%}
    list_transform({{ vector }}, lambda {{ item }}: {{ expression }})
{%- endmacro %}

{% macro spark__vector_map(vector, item, expression) -%}
    transform({{ vector }}, {{ item }} -> {{ expression }})
{%- endmacro %}
