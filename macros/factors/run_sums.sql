{% macro run_sums(vector, ends) -%}
    {{ vector_map(
        vector_positions(ends),
        'j',
        vector_sum(vector_slice(
            vector,
            'case when j = 1 then 1 else ' ~ vector_item(ends, 'j - 1') ~ ' + 1 end',
            vector_item(ends, 'j')
        ))
    ) }}
{%- endmacro %}
