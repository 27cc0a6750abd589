{#- The last 6 rows against the 168 before them. -#}
{% macro transform_snr(part, x, name) -%}
    {%- if part == 'frame' -%}
        count({{ x }}) over last_6 as {{ name }}_now_n,
        {{ exact_sum(x, window='last_6') }} as {{ name }}_now_sum,
        {{ baseline_of(x, 'before_last_6', name) }}
    {%- else -%}
        case
            when {{ name }}_now_n >= {{ min_rows(6) }}
                then {{ z_of(name ~ '_now_sum / ' ~ name ~ '_now_n', name, min_rows(168)) }}
        end
    {%- endif -%}
{%- endmacro %}
