{% macro log_ratio(a, b) -%}
    {{ log1p('((' ~ a ~ ' - ' ~ b ~ ') / ' ~ b ~ ')') }}
{%- endmacro %}
