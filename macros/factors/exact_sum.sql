{% macro exact_sum(x, condition='true', scale=16) -%}
    cast(sum(cast({{ x }} as decimal(38, {{ scale }}))) filter (where {{ condition }}) as double)
{%- endmacro %}
