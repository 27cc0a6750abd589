{% macro vector_size(vector) %}
    {{- return(adapter.dispatch('vector_size')(vector)) -}}
{% endmacro %}

{% macro default__vector_size(vector) -%}
    len({{ vector }})
{%- endmacro %}

{% macro spark__vector_size(vector) -%}
    size({{ vector }})
{%- endmacro %}
