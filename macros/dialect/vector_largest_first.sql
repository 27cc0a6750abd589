{% macro vector_largest_first(vector) %}
    {{- return(adapter.dispatch('vector_largest_first')(vector)) -}}
{% endmacro %}

{% macro default__vector_largest_first(vector) -%}
    list_reverse_sort({{ vector }})
{%- endmacro %}

{% macro spark__vector_largest_first(vector) -%}
    sort_array({{ vector }}, false)
{%- endmacro %}
