{% macro explode_together(vectors) %}
    {{- return(adapter.dispatch('explode_together')(vectors)) -}}
{% endmacro %}

{% macro default__explode_together(vectors) -%}
    {%- for name in vectors %}
    unnest({{ name }}) as {{ name }}{{ ',' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

{% macro spark__explode_together(vectors) -%}
    inline(arrays_zip({{ vectors | join(', ') }}))
{%- endmacro %}
