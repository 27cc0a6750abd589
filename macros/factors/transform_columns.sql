{#- Names in the order of the list. -#}
{% macro transform_columns() %}
    {%- set names = [] -%}
    {%- for line in var('transforms') -%}
        {%- for name in line.transforms -%}
            {%- do names.append('g_' ~ name ~ '_' ~ line.factor) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{- return(names) -}}
{% endmacro %}
