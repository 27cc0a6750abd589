{% macro vector_filter(vector, item, condition) %}
    {{- return(adapter.dispatch('vector_filter')(vector, item, condition)) -}}
{% endmacro %}

{% macro default__vector_filter(vector, item, condition) -%}
    list_filter({{ vector }}, lambda {{ item }}: {{ condition }})
{%- endmacro %}

{% macro spark__vector_filter(vector, item, condition) -%}
    filter({{ vector }}, {{ item }} -> {{ condition }})
{%- endmacro %}
