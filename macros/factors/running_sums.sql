{% macro running_sums(vector) -%}
    {{ vector_map(
        vector_positions(vector), 'last', vector_sum(vector_slice(vector, 1, 'last'))
    ) }}
{%- endmacro %}
