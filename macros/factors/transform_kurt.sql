{% macro transform_kurt(part, x, rows, name) -%}
    {%- if part == 'frame' -%}
        {{ values_of(x, 'to_' ~ rows) }} as {{ name }}_values
    {%- else -%}
        {{ shape_of(name ~ '_values', min_rows(rows), kurt(
            central_moment('d', 2), central_moment('d', 4), vector_size('d')
        )) }}
    {%- endif -%}
{%- endmacro %}
