{#- Positions without a gap are a slice, which needs no copying. -#}
{% macro vector_pick_rising(vector, positions) -%}
    {%- set first = vector_item(positions, 1) -%}
    {%- set last = vector_item(positions, vector_size(positions)) -%}
    case
            when {{ vector_size(positions) }} = {{ last }} - {{ first }} + 1
                then {{ vector_slice(vector, first, last) }}
            else {{ vector_pick(vector, positions) }}
        end
{%- endmacro %}
