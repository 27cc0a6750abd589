{% macro decay_weight(age, half_life) -%}
    {{ '%.17e' | format(2 ** (-age / half_life)) }}
{%- endmacro %}
