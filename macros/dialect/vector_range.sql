{% macro vector_range(first, end) %}
    {{- return(adapter.dispatch('vector_range')(first, end)) -}}
{% endmacro %}

{% macro default__vector_range(first, end) -%}
    range({{ first }}, {{ end }})
{%- endmacro %}

{% macro spark__vector_range(first, end) -%}
    filter(sequence({{ first }}, {{ end }}), p -> p < {{ end }})
{%- endmacro %}
