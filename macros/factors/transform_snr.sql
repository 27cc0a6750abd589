{#- The last 6 rows against the 168 before them. It stands 5 rows early, where these 168 are the frame that
    ends before the row. -#}
{% macro transform_snr(position, size) -%}
    {%- set frame = 'before_168_' ~ position -%}
    {%- set now = cells_ahead(position, size) -%}
    (
                    ({{ cells_joined('d1', now) }})
                    / {{ if_enough(cells_joined('n', now), min_rows(6)) }}
                    - {{ frame }}_s1 / {{ frame }}_n
                )
                / {{ frame_deviation(frame) }}
{%- endmacro %}
