{% macro decayed_mean(x, window, half_life=6, rows=61) -%}
    {%- set enough = 0.75 * decay_weights(half_life, rows) | sum -%}
    {%- set weight = decayed_weight(x, window, half_life, rows) -%}
    case
            when {{ weight }} >= {{ '%.17e' | format(enough) }}
                then {{ decayed_sum(x, window, half_life, rows) }} / {{ weight }}
        end
{%- endmacro %}
