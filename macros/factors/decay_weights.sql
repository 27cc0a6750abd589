{#- Weight 1 for the row itself, half of it `half_life` rows before. -#}
{% macro decay_weights(half_life=6, rows=61) %}
    {%- set weights = [] -%}
    {%- for k in range(rows) -%}
        {%- do weights.append(2 ** (-k / half_life)) -%}
    {%- endfor -%}
    {{- return(weights) -}}
{% endmacro %}
