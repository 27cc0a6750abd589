{#- From the sums of powers of the distances from the centre. -#}
{% macro frame_moment(frame, k) -%}
    {%- set mean = '(' ~ frame ~ '_s1 / ' ~ frame ~ '_n)' -%}
    {%- set sums = [frame ~ '_n', frame ~ '_s1', frame ~ '_s2', frame ~ '_s3', frame ~ '_s4'] -%}
    (({{ moved_power_sum(k, sums, '(-' ~ mean ~ ')') }}) / {{ frame }}_n)
{%- endmacro %}
