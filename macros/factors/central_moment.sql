{% macro central_moment(deviations, k) -%}
    ({{ vector_sum(vector_map(deviations, 'e', (['e'] * k) | join(' * '))) }}
            / {{ vector_size(deviations) }})
{%- endmacro %}
