{% macro vector_smallest(vector, n) %}
    {{- return(adapter.dispatch('vector_smallest')(vector, n)) -}}
{% endmacro %}

{% macro default__vector_smallest(vector, n) -%}
    list_aggregate({{ vector }}, 'min', {{ n }})
{%- endmacro %}

{% macro spark__vector_smallest(vector, n) -%}
    slice(array_sort({{ vector }}), 1, {{ n }})
{%- endmacro %}
