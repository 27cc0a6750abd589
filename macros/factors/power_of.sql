{#- Products: a power() would take several times as long. -#}
{% macro power_of(x, k) -%}
    {{ ([x] * k) | join(' * ') }}
{%- endmacro %}
