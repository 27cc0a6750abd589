{% macro transform_mem(part, x, rows, name) -%}
    {%- if part == 'frame' -%}
        {{ decayed_memory(x, 'by_hour', rows, 10 * rows + 1) }} as {{ name }}
    {%- else -%}
        {{ name }}
    {%- endif -%}
{%- endmacro %}
