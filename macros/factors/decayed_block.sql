{% macro decayed_block(prefix, half_life, size) -%}
    {%- for cell in own_cells(size) %}
        {{ '+ ' if not loop.first }}{{ cell_known(prefix, cell) }} * {{ decay_weight(size - 1 - cell[1], half_life) }}
    {%- endfor %}
{%- endmacro %}
