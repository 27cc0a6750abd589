{#- ln(a / b) would keep only the digits in which the quotient differs from 1. Scaling the logarithm of
    the rounded quotient by what the rounding changed gives them back (Kahan). -#}
{% macro log_ratio(a, b) -%}
    {%- set change = '(' ~ a ~ ' - ' ~ b ~ ') / ' ~ b -%}
    case
            when 1e0 + {{ change }} = 1e0 then {{ change }}
            else ln(1e0 + {{ change }}) * ({{ change }}) / ((1e0 + {{ change }}) - 1e0)
        end
{%- endmacro %}
