{% macro vector_pick(vector, positions) %}
    {{- return(adapter.dispatch('vector_pick')(vector, positions)) -}}
{% endmacro %}

{% macro default__vector_pick(vector, positions) -%}
    list_select({{ vector }}, {{ positions }})
{%- endmacro %}

{% macro spark__vector_pick(vector, positions) -%}
    transform({{ positions }}, p -> get({{ vector }}, cast(p as int) - 1))
{%- endmacro %}
