{#- The sum of (x + d)^k from the sums of the powers of x, the 0th first. -#}
{% macro moved_power_sum(k, sums, d) -%}
    {%- set choices = [[1], [1, 1], [1, 2, 1], [1, 3, 3, 1], [1, 4, 6, 4, 1]][k] -%}
    {%- set ns = namespace(total=sums[0]) -%}
    {%- for i in range(1, k + 1) -%}
        {%- set times = choices[i] ~ 'e0 * ' if choices[i] > 1 else '' -%}
        {%- set ns.total = times ~ sums[i] ~ ' + ' ~ d ~ ' * (' ~ ns.total ~ ')' -%}
    {%- endfor -%}
    {{- ns.total -}}
{%- endmacro %}
