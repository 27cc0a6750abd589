{#- Half the shortest frame at most: then every frame of a row holds the whole block before the row's. -#}
{% macro block_rows() %}
    {%- set sizes = [12] -%}
    {%- for frame in moment_frames().values() -%}
        {%- do sizes.append(frame.rows // 2) -%}
    {%- endfor -%}
    {%- for half_life in decay_half_lives() -%}
        {%- do sizes.append((10 * half_life + 1) // 2) -%}
    {%- endfor -%}
    {{- return([sizes | min, 1] | max) -}}
{% endmacro %}
