{#- `ranks_x` and `ranks_y` hold the centred ranks of the same things in the same order. -#}
{% macro correlation_of_ranks(ranks_x, ranks_y) -%}
    {{ vector_dot(ranks_x, ranks_y) }} / nullif(
        sqrt({{ vector_dot(ranks_x, ranks_x) }} * {{ vector_dot(ranks_y, ranks_y) }}), 0e0
    )
{%- endmacro %}

{#- A vector of numbers without gaps; the letters keep the names of nested expressions apart. -#}
{% macro ranks_of(x, letter) -%}
    {%- set rising = 'rising_' ~ letter -%}
    {%- set falling = 'falling_' ~ letter -%}
    {{ vector_let(vector_sorted(x), rising, vector_let(
        vector_reversed(rising), falling, centred_ranks(x, rising, falling, letter)
    )) }}
{%- endmacro %}

{#- Two vectors of numbers without gaps. -#}
{% macro rank_correlation(x, y) -%}
    {{ vector_let(ranks_of(x, 'v'), 'ranks_x', vector_let(
        ranks_of(y, 'w'), 'ranks_y', correlation_of_ranks('ranks_x', 'ranks_y')
    )) }}
{%- endmacro %}
