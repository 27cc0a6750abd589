{#- The first place of a value from below less its first place from above is twice its mean rank less
    n + 1: ties share the mean of their ranks, and the ranks of all add up to 0. -#}
{% macro centred_ranks(vector, rising, falling, item) -%}
    {{ vector_map(
        vector,
        item,
        'case when ' ~ is_finite(item) ~ ' then cast(' ~ vector_position(rising, item) ~ ' - '
        ~ vector_position(falling, item) ~ ' as double) end'
    ) }}
{%- endmacro %}
