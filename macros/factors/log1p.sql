{#- ln(1 + x) alone would keep only the digits of x that survive next to 1; the second term gives back
    what rounding 1 + x took away. -#}
{% macro log1p(x) -%}
    (ln(1e0 + {{ x }}) + ({{ x }} - ((1e0 + {{ x }}) - 1e0)) / (1e0 + {{ x }}))
{%- endmacro %}
