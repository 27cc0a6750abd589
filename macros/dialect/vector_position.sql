{% macro vector_position(vector, x) %}
    {{- return(adapter.dispatch('vector_position')(vector, x)) -}}
{% endmacro %}

{% macro default__vector_position(vector, x) -%}
    list_position({{ vector }}, {{ x }})
{%- endmacro %}

{% macro spark__vector_position(vector, x) -%}
    array_position({{ vector }}, {{ x }})
{%- endmacro %}
