{#- Asks the engine to keep the rows of a common table expression that is used more than once. -#}
{% macro materialized() %}
    {{- return(adapter.dispatch('materialized')()) -}}
{% endmacro %}

{% macro default__materialized() -%}
    materialized
{%- endmacro %}

{% macro spark__materialized() %}{% endmacro %}
