{% macro transform_rz(part, x, rows, name) -%}
    {%- if part == 'frame' -%}
        count({{ x }}) over before_{{ rows }} as {{ name }}_n,
        {{ pct(x, 0.5) }} over before_{{ rows }} as {{ name }}_median,
        {{ mad(x, 'before_' ~ rows) }} as {{ name }}_mad
    {%- else -%}
        case
            when {{ name }}_n >= {{ min_rows(rows) }}
                then {{ safe_div(x ~ ' - ' ~ name ~ '_median', '1.4826e0 * ' ~ name ~ '_mad') }}
        end
    {%- endif -%}
{%- endmacro %}
