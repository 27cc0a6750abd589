{#- A vector of one item is the portable way to compute a value once and use it many times. -#}
{% macro vector_let(value, name, expression) -%}
    {{ vector_item(vector_map(vector_literal(value), name, expression), 1) }}
{%- endmacro %}
