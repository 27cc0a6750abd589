{% macro transform_skew(part, x, rows, name) -%}
    {%- if part == 'frame' -%}
        {{ values_of(x, 'to_' ~ rows) }} as {{ name }}_values
    {%- else -%}
        {{ shape_of(name ~ '_values', min_rows(rows), skew(
            central_moment('d', 2), central_moment('d', 3), vector_size('d')
        )) }}
    {%- endif -%}
{%- endmacro %}
