{% macro vector_literal(x) %}
    {{- return(adapter.dispatch('vector_literal')(x)) -}}
{% endmacro %}

{% macro default__vector_literal(x) -%}
    [{{ x }}]
{%- endmacro %}

{% macro spark__vector_literal(x) -%}
    array({{ x }})
{%- endmacro %}
