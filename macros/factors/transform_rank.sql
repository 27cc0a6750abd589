{% macro transform_rank(x, rows) -%}
    {{ rank_of(x, 'to_' ~ rows, min_rows(rows)) }}
{%- endmacro %}
