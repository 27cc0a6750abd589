{% macro transform_z(part, x, rows, name) -%}
    {%- if part == 'frame' -%}
        {{ baseline_of(x, 'before_' ~ rows, name) }}
    {%- else -%}
        {{ z_of(x, name, min_rows(rows)) }}
    {%- endif -%}
{%- endmacro %}
