{#- One value for each row of the block. -#}
{% macro transform_block(name, size) -%}
    {%- set kind = transform_kind(name) -%}
    {%- set rows = transform_rows(name) -%}
    {%- set values = [] -%}
    {%- for position in range(size) -%}
        {%- if kind == 'z' -%}
            {%- do values.append(transform_z(rows, position)) -%}
        {%- elif kind == 'skew' -%}
            {%- do values.append(transform_skew(rows, position)) -%}
        {%- elif kind == 'kurt' -%}
            {%- do values.append(transform_kurt(rows, position)) -%}
        {%- elif kind == 'snr' -%}
            {%- do values.append(transform_snr(position, size)) -%}
        {%- elif kind == 'ewm' -%}
            {%- do values.append(transform_ewm(rows, position)) -%}
        {%- elif kind == 'mem' -%}
            {%- do values.append(transform_mem(rows, position)) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ vector_literal(values | join(',\n                ')) }}
{%- endmacro %}
