{#- Two passes: the powers of raw values would lose the digits that values far from 0 differ in, and the
    engine's own aggregate would add them in an order that depends on the rows around the frame. -#}
{% macro shape_of(values, min_rows, statistic) -%}
    case
            when
                {{ vector_size(values) }} >= {{ min_rows }}
                and {{ vector_min(values) }} < {{ vector_max(values) }}
                then {{ vector_let(
                    vector_mean(values),
                    'm',
                    vector_let(vector_map(values, 'v', 'v - m'), 'd', statistic)
                ) }}
        end
{%- endmacro %}
