{% macro sorted_vector_of(x, condition) %}
    {{- return(adapter.dispatch('sorted_vector_of')(x, condition)) -}}
{% endmacro %}

{% macro default__sorted_vector_of(x, condition) -%}
    list({{ x }} order by {{ x }} nulls last) filter (where {{ condition }})
{%- endmacro %}

{% macro spark__sorted_vector_of(x, condition) -%}
    array_sort(collect_list({{ x }}) filter (where {{ condition }}))
{%- endmacro %}
