{% macro vector_positions(vector) %}
    {{- return(adapter.dispatch('vector_positions')(vector)) -}}
{% endmacro %}

{% macro default__vector_positions(vector) -%}
    range(1, len({{ vector }}) + 1)
{%- endmacro %}

{% macro spark__vector_positions(vector) -%}
    filter(sequence(0, size({{ vector }})), p -> p > 0)
{%- endmacro %}
