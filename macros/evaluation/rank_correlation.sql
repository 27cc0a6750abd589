{#- `ranks_x` and `ranks_y` hold the centred ranks of the same things in the same order. -#}
{% macro correlation_of_ranks(ranks_x, ranks_y) -%}
    {{ vector_dot(ranks_x, ranks_y) }} / nullif(
        sqrt({{ vector_dot(ranks_x, ranks_x) }} * {{ vector_dot(ranks_y, ranks_y) }}), 0e0
    )
{%- endmacro %}

{#- Two vectors of numbers without gaps. -#}
{% macro rank_correlation(x, y) -%}
    {{ vector_let(centred_ranks(x, vector_sorted(x), 'v'), 'ranks_x', vector_let(
        centred_ranks(y, vector_sorted(y), 'w'), 'ranks_y', correlation_of_ranks('ranks_x', 'ranks_y')
    )) }}
{%- endmacro %}
