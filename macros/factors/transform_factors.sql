{#- A transform's name to the factors that have it. -#}
{% macro transform_factors(kinds) %}
    {%- set found = {} -%}
    {%- for line in var('transforms') -%}
        {%- for name in line.transforms if transform_kind(name) in kinds -%}
            {%- do found.setdefault(name, []).append(line.factor) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{- return(found) -}}
{% endmacro %}
