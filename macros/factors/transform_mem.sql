{% macro transform_mem(half_life, position) -%}
    {%- set enough = 0.75 * decay_weights(half_life, 10 * half_life + 1) | sum -%}
    {%- set suffix = 'decayed_' ~ half_life ~ '_' ~ position -%}
    case when n_{{ suffix }} >= {{ '%.17e' | format(enough) }} then x_{{ suffix }} end
{%- endmacro %}
