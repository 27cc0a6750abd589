{% macro vector_dot(x, y) %}
    {{- return(adapter.dispatch('vector_dot')(x, y)) -}}
{% endmacro %}

{% macro default__vector_dot(x, y) -%}
    list_inner_product({{ x }}, {{ y }})
{%- endmacro %}

{% macro spark__vector_dot(x, y) -%}
    aggregate(zip_with({{ x }}, {{ y }}, (a, b) -> a * b), 0e0, (total, e) -> total + e)
{%- endmacro %}
