{% macro weighted_quantile(values, running_weights, total_weight, p) -%}
    {{ vector_item(
        values,
        '1 + ' ~ vector_size(vector_filter(
            running_weights, 'w', 'w < (' ~ p ~ ' - 1e-12) * ' ~ total_weight
        ))
    ) }}
{%- endmacro %}
