{#- A run of one needs no adding up, and most runs are of one. -#}
{% macro run_sums(vector, ends) -%}
    {%- set first = 'case when j = 1 then 1 else ' ~ vector_item(ends, 'j - 1') ~ ' + 1 end' -%}
    {%- set last = vector_item(ends, 'j') -%}
    {{ vector_map(
        vector_positions(ends),
        'j',
        'case when ' ~ first ~ ' = ' ~ last ~ ' then ' ~ vector_item(vector, last)
        ~ ' else ' ~ vector_sum(vector_slice(vector, first, last)) ~ ' end'
    ) }}
{%- endmacro %}
