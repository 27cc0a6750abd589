{% macro transform_ewm(half_life, position) -%}
    {%- set enough = 0.75 * decay_weights(half_life, 10 * half_life + 1) | sum -%}
    {%- set suffix = 'decayed_' ~ half_life ~ '_' ~ position -%}
    x_{{ suffix }} / {{ if_enough('n_' ~ suffix, '%.17e' | format(enough)) }}
{%- endmacro %}
