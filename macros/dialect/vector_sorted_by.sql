{% macro vector_sorted_by(vector, keys) %}
    {{- return(adapter.dispatch('vector_sorted_by')(vector, keys)) -}}
{% endmacro %}

{% macro default__vector_sorted_by(vector, keys) -%}
    list_select({{ vector }}, list_grade_up({{ keys }}))
{%- endmacro %}

{% macro spark__vector_sorted_by(vector, keys) -%}
    transform(array_sort(arrays_zip({{ keys }} as k, {{ vector }} as v)), e -> e.v)
{%- endmacro %}
