{#- Rows of the same block and of the edge one by one, the blocks in between as a whole. -#}
{% macro decayed_to(prefix, half_life, position, size) -%}
    {%- set cells = [(0, position)] + edge_cells(position, 10 * half_life, 1, size) -%}
    (
                        {{ prefix }}_past_{{ half_life }} * {{ decay_weight(position + 1, half_life) }}
                        {%- for cell in cells %}
                        + {{ cell_known(prefix, cell) }}
                        * {{ decay_weight(position + cell[0] * size - cell[1], half_life) }}
                        {%- endfor %}
                    )
{%- endmacro %}
