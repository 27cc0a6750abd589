{% macro vector_sorted(vector) %}
    {{- return(adapter.dispatch('vector_sorted')(vector)) -}}
{% endmacro %}

{% macro default__vector_sorted(vector) -%}
    list_sort({{ vector }})
{%- endmacro %}

{% macro spark__vector_sorted(vector) -%}
    sort_array({{ vector }})
{%- endmacro %}
