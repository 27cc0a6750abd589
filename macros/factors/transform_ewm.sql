{% macro transform_ewm(part, x, rows, name) -%}
    {%- if part == 'frame' -%}
        {{ decayed_mean(x, 'by_hour', rows, 10 * rows + 1) }} as {{ name }}
    {%- else -%}
        {{ name }}
    {%- endif -%}
{%- endmacro %}
