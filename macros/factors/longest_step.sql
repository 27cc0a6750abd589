{#- Of a vector in rising order with two items or more. -#}
{% macro longest_step(vector) -%}
    {{ vector_let(vector, 'v', vector_max(vector_map(
        vector_range(2, vector_size('v') ~ ' + 1'),
        'i',
        vector_item('v', 'i') ~ ' - ' ~ vector_item('v', 'i - 1')
    ))) }}
{%- endmacro %}
