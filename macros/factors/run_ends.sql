{% macro run_ends(labels) -%}
    {{ vector_filter(
        vector_positions(labels),
        'i',
        'case when i = ' ~ vector_size(labels) ~ ' then true else '
        ~ vector_item(labels, 'i') ~ ' <> ' ~ vector_item(labels, 'i + 1') ~ ' end'
    ) }}
{%- endmacro %}
