{% macro decayed_memory(x, window, half_life=6, rows=61) -%}
    {%- set enough = 0.75 * decay_weights(half_life, rows) | sum -%}
    case
            when {{ decayed_weight(x, window, half_life, rows) }} >= {{ '%.17e' | format(enough) }}
                then {{ decayed_sum(x, window, half_life, rows) }}
        end
{%- endmacro %}
