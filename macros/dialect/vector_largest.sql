{% macro vector_largest(vector, n) %}
    {{- return(adapter.dispatch('vector_largest')(vector, n)) -}}
{% endmacro %}

{% macro default__vector_largest(vector, n) -%}
    list_aggregate({{ vector }}, 'max', {{ n }})
{%- endmacro %}

{% macro spark__vector_largest(vector, n) -%}
    slice(sort_array({{ vector }}, false), 1, {{ n }})
{%- endmacro %}
