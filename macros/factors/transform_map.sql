{% macro transform_map(map, x) -%}
    {%- if map == 'none' -%}
        {{ x }}
    {%- elif map == 'ln' -%}
        {{ safe_ln(x) }}
    {%- elif map == 'ln1p' -%}
        case when {{ x }} > -1e0 then {{ log1p(x) }} end
    {%- else -%}
        {{ exceptions.raise_compiler_error('Unknown map `' ~ map ~ '` of ' ~ x) }}
    {%- endif -%}
{%- endmacro %}
