{% macro vector_sum(vector) %}
    {{- return(adapter.dispatch('vector_sum')(vector)) -}}
{% endmacro %}

{% macro default__vector_sum(vector) -%}
    coalesce(list_sum({{ vector }}), 0e0)
{%- endmacro %}

{% macro spark__vector_sum(vector) -%}
    coalesce(aggregate({{ vector }}, 0e0, (total, e) -> total + coalesce(e, 0e0)), 0e0)
{%- endmacro %}
