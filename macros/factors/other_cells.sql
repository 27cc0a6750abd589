{% macro other_cells(size) %}
    {%- set cells = [] -%}
    {%- for position in range(size) -%}
        {%- for frame in moment_frames().values() -%}
            {%- do cells.extend(edge_cells(position, frame.rows, frame.newest, size)) -%}
        {%- endfor -%}
        {%- for half_life in decay_half_lives() -%}
            {%- do cells.extend(edge_cells(position, 10 * half_life, 1, size)) -%}
        {%- endfor -%}
        {%- if 'snr' in transform_names() -%}
            {%- do cells.extend(cells_ahead(position, size)) -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(cells | unique | selectattr(0) | sort) -}}
{% endmacro %}
