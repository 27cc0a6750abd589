{% macro transform_rank(part, x, rows, name) -%}
    {%- if part == 'frame' -%}
        {{ rank_of(x, 'to_' ~ rows, min_rows(rows)) }} as {{ name }}
    {%- else -%}
        {{ name }}
    {%- endif -%}
{%- endmacro %}
