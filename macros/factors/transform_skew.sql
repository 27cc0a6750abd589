{% macro transform_skew(rows, position) -%}
    {%- set frame = 'to_' ~ rows ~ '_' ~ position -%}
    {{ skew(frame_moment(frame, 2), frame_moment(frame, 3), frame ~ '_n') }}
{%- endmacro %}
