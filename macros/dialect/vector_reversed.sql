{% macro vector_reversed(vector) %}
    {{- return(adapter.dispatch('vector_reversed')(vector)) -}}
{% endmacro %}

{% macro default__vector_reversed(vector) -%}
    list_reverse({{ vector }})
{%- endmacro %}

{% macro spark__vector_reversed(vector) -%}
    reverse({{ vector }})
{%- endmacro %}
