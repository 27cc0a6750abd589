{#- The sum of (x - centre)^k of a block's rows, from its sums of powers of x - anchor. -#}
{% macro shifted_power_sum(k, back) -%}
    {%- set d = 'shift_' ~ back -%}
    {{ moved_power_sum(k, ['n_' ~ back, 's1_' ~ back, 's2_' ~ back, 's3_' ~ back, 's4_' ~ back], d) }}
{%- endmacro %}
