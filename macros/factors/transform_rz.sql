{% macro transform_rz(x, rows) -%}
    case
            when count({{ x }}) over before_{{ rows }} >= {{ min_rows(rows) }}
                then {{ safe_div(
                    x ~ ' - ' ~ pct(x, 0.5) ~ ' over before_' ~ rows,
                    '1.4826e0 * ' ~ mad(x, 'before_' ~ rows)
                ) }}
        end
{%- endmacro %}
