{% macro most_blocks(size) %}
    {%- set found = [0] -%}
    {%- for frame in moment_frames().values() -%}
        {%- do found.append(whole_blocks(frame.rows, frame.newest, size)) -%}
    {%- endfor -%}
    {{- return(found | max) -}}
{% endmacro %}
