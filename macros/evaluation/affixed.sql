{% macro affixed(names, prefix, suffix='') %}
    {%- set results = [] -%}
    {%- for name in names -%}
        {%- do results.append(prefix ~ name ~ suffix) -%}
    {%- endfor -%}
    {{ return(results) }}
{% endmacro %}
