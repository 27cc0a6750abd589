{#- `newest` is the age of a frame's last row: 0 for the row itself, 1 for the one before it. -#}
{% macro moment_frames() %}
    {%- set frames = {} -%}
    {%- for name in transform_names() -%}
        {%- set kind = transform_kind(name) -%}
        {%- set newest = 0 if kind in ('skew', 'kurt') else 1 -%}
        {%- set rows = 168 if kind == 'snr' else transform_rows(name) -%}
        {%- set powers = {'z': 2, 'snr': 2, 'skew': 3, 'kurt': 4}.get(kind) -%}
        {%- set frame = ('to_' if newest == 0 else 'before_') ~ rows -%}
        {%- if powers and powers > frames.get(frame, {'powers': 0}).powers -%}
            {%- do frames.update({frame: {'rows': rows, 'newest': newest, 'powers': powers}}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(frames) -}}
{% endmacro %}
