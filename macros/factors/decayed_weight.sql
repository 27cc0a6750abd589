{% macro decayed_weight(x, window, half_life=6, rows=61) -%}
    (
            {%- for weight in decay_weights(half_life, rows) %}
            {{ '+ ' if not loop.first }}case
                when lag({{ x }}, {{ loop.index0 }}) over {{ window }} is not null
                    then {{ '%.17e' | format(weight) }}
                else 0e0
            end
            {%- endfor %}
        )
{%- endmacro %}
