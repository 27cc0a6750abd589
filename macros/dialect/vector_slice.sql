{% macro vector_slice(vector, first, last) %}
    {{- return(adapter.dispatch('vector_slice')(vector, first, last)) -}}
{% endmacro %}

{% macro default__vector_slice(vector, first, last) -%}
    list_slice({{ vector }}, {{ first }}, {{ last }})
{%- endmacro %}

{% macro spark__vector_slice(vector, first, last) -%}
    slice({{ vector }}, cast({{ first }} as int), cast(greatest({{ last }} - ({{ first }}) + 1, 0) as int))
{%- endmacro %}
