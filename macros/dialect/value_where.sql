{% macro value_where(x, condition) %}
    {{- return(adapter.dispatch('value_where')(x, condition)) -}}
{% endmacro %}

{#- A filter of its own for each of a hundred aggregates takes longer. -#}
{% macro default__value_where(x, condition) -%}
    any_value(case when {{ condition }} then {{ x }} end)
{%- endmacro %}

{% macro spark__value_where(x, condition) -%}
    first(case when {{ condition }} then {{ x }} end, true)
{%- endmacro %}
