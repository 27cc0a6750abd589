{#- `part` is 'frame' for the columns that a transform needs from windows, and a step later 'value' for
    what they give. A transform is named by its kind and the rows that it looks at, such as z24. -#}
{% macro transform(part, transform_name, x) %}
    {%- set kind = transform_name.rstrip('0123456789') -%}
    {%- set rows = transform_name[kind | length:] | int -%}
    {%- set name = x ~ '_' ~ transform_name -%}
    {%- if kind == 'z' -%}
        {{ transform_z(part, x, rows, name) }}
    {%- elif kind == 'rz' -%}
        {{ transform_rz(part, x, rows, name) }}
    {%- elif kind == 'rank' -%}
        {{ transform_rank(part, x, rows, name) }}
    {%- elif kind == 'skew' -%}
        {{ transform_skew(part, x, rows, name) }}
    {%- elif kind == 'kurt' -%}
        {{ transform_kurt(part, x, rows, name) }}
    {%- elif kind == 'ewm' -%}
        {{ transform_ewm(part, x, rows, name) }}
    {%- elif kind == 'mem' -%}
        {{ transform_mem(part, x, rows, name) }}
    {%- elif transform_name == 'snr' -%}
        {{ transform_snr(part, x, name) }}
    {%- else -%}
        {{ exceptions.raise_compiler_error('Unknown transform `' ~ transform_name ~ '` of ' ~ x) }}
    {%- endif -%}
{% endmacro %}
