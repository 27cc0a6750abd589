{#- The centre is one of the values, so taking the mean out leaves at least the 168th part: nothing is lost,
    and equal values have exactly 0. -#}
{% macro frame_deviation(frame) -%}
    nullif(sqrt(
                        greatest({{ frame }}_s2 - {{ frame }}_s1 * {{ frame }}_s1 / {{ frame }}_n, 0e0)
                        / nullif({{ frame }}_n - 1e0, 0e0)
                    ), 0e0)
{%- endmacro %}
