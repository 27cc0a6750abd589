{% macro vector_slice(vector, first, last) %}
    {{- return(adapter.dispatch('vector_slice')(vector, first, last)) -}}
{% endmacro %}

{% macro default__vector_slice(vector, first, last) -%}
    list_slice({{ vector }}, {{ first }}, {{ last }})
{%- endmacro %}

{% macro spark__vector_slice(vector, first, last) -%}
    slice({{ vector }}, cast({{ first }} as int), cast({{ last }} - ({{ first }}) + 1 as int))
{%- endmacro %}
