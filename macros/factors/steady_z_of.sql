{#- Where the squares of the deviations are a ten-thousandth of all squares or more, taking the mean
    out of exact sums costs at most four of sixteen digits. -#}
{% macro steady_z_of(x, name, min_rows, scale) -%}
    {%- set limit = '%.0e' | format(steady_limit(scale)) -%}
    {%- set mean = name ~ '_sum / ' ~ name ~ '_n' -%}
    {%- set spread = name ~ '_squares - ' ~ name ~ '_sum * (' ~ mean ~ ')' -%}
    case
            when {{ name }}_n >= {{ min_rows }} and {{ name }}_min < {{ name }}_max
                then ({{ x }} - {{ mean }}) / nullif(
                    case
                        when
                            greatest(abs({{ name }}_min), abs({{ name }}_max)) < {{ limit }}
                            and {{ spread }} > 1e-4 * {{ name }}_squares
                            then sqrt(({{ spread }}) / ({{ name }}_n - 1))
                        else {{ name }}_std
                    end,
                    0e0
                )
        end
{%- endmacro %}
