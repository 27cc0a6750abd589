{#- One lag per row of the frame: the terms are added in one order on every engine, whatever stands
    around the frame, and it takes an eighth of the time of gathering the frame into a list. -#}
{% macro decayed_sum(x, window, half_life=6, rows=61) -%}
    (
            {%- for weight in decay_weights(half_life, rows) %}
            {{ '+ ' if not loop.first -}}
            coalesce(lag({{ x }}, {{ loop.index0 }}) over {{ window }}, 0e0)
            * {{ '%.17e' | format(weight) }}
            {%- endfor %}
        )
{%- endmacro %}
