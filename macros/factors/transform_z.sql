{% macro transform_z(rows, position) -%}
    {%- set frame = 'before_' ~ rows ~ '_' ~ position -%}
    (x_0_{{ position }} - centre - {{ frame }}_s1 / {{ frame }}_n)
                    / {{ frame_deviation(frame) }}
{%- endmacro %}
