{% macro vector_item(vector, position) %}
    {{- return(adapter.dispatch('vector_item')(vector, position)) -}}
{% endmacro %}

{% macro default__vector_item(vector, position) -%}
    list_extract({{ vector }}, {{ position }})
{%- endmacro %}

{% macro spark__vector_item(vector, position) -%}
    get({{ vector }}, cast({{ position }} as int) - 1)
{%- endmacro %}
