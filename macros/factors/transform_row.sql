{% macro transform_row(name, x) -%}
    {%- if transform_kind(name) == 'rank' -%}
        {{ transform_rank(x, transform_rows(name)) }}
    {%- elif transform_kind(name) == 'rz' -%}
        {{ transform_rz(x, transform_rows(name)) }}
    {%- endif -%}
{%- endmacro %}
