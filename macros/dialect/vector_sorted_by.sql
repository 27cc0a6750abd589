{% macro vector_sorted_by(vector, keys) %}
    {{- return(adapter.dispatch('vector_sorted_by')(vector, keys)) -}}
{% endmacro %}

{% macro default__vector_sorted_by(vector, keys) -%}
    list_select({{ vector }}, list_grade_up({{ keys }}))
{%- endmacro %}

{% macro spark__vector_sorted_by(vector, keys) -%}
    transform(
            array_sort(transform({{ keys }}, (k, i) -> struct(k as k, i as i))),
            e -> get({{ vector }}, e.i)
        )
{%- endmacro %}
