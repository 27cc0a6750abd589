{% macro vector_item(vector, position) %}
    {{- return(adapter.dispatch('vector_item')(vector, position)) -}}
{% endmacro %}

{% macro default__vector_item(vector, position) -%}
    list_extract({{ vector }}, {{ position }})
{%- endmacro %}

{% macro spark__vector_item(vector, position) -%}
    try_element_at({{ vector }}, cast({{ position }} as int))
{%- endmacro %}
