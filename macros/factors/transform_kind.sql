{% macro transform_kind(name) %}
    {%- set kind = name.rstrip('0123456789') -%}
    {%- if kind not in ('z', 'skew', 'kurt', 'ewm', 'mem', 'snr', 'rank', 'rz') -%}
        {{ exceptions.raise_compiler_error('Unknown transform `' ~ name ~ '`') }}
    {%- endif -%}
    {{- return(kind) -}}
{% endmacro %}
