{% macro transform_kurt(rows, position) -%}
    {%- set frame = 'to_' ~ rows ~ '_' ~ position -%}
    {{ kurt(frame_moment(frame, 2), frame_moment(frame, 4), frame ~ '_n') }}
{%- endmacro %}
