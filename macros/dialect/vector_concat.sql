{% macro vector_concat(x, y) %}
    {{- return(adapter.dispatch('vector_concat')(x, y)) -}}
{% endmacro %}

{% macro default__vector_concat(x, y) -%}
    list_concat({{ x }}, {{ y }})
{%- endmacro %}

{% macro spark__vector_concat(x, y) -%}
    concat({{ x }}, {{ y }})
{%- endmacro %}
