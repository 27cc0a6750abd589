{% macro own_columns(relation) %}
    {{- return(adapter.dispatch('own_columns')(relation)) -}}
{% endmacro %}

{% macro default__own_columns(relation) -%}
    {{ relation }}.*
{%- endmacro %}

{% macro spark__own_columns(relation) -%}
    {{ relation }}.* except (month)
{%- endmacro %}
