{% macro vector_of(x) %}
    {{- return(adapter.dispatch('vector_of')(x)) -}}
{% endmacro %}

{% macro default__vector_of(x) -%}
    list({{ x }})
{%- endmacro %}

{% macro spark__vector_of(x) -%}
    collect_list({{ x }})
{%- endmacro %}
