{% macro z_of(x, name, min_rows) -%}
    case
            when {{ name }}_n >= {{ min_rows }} and {{ name }}_min < {{ name }}_max
                then {{ safe_div(x ~ ' - ' ~ name ~ '_sum / ' ~ name ~ '_n', name ~ '_std') }}
        end
{%- endmacro %}
