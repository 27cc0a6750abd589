{#- `try_cast`: the table is made of a batch of no month at all. -#}
{% macro in_month(ts) -%}
    {%- if model.resource_type == 'unit_test' -%} true
    {%- else -%} date_trunc('month', {{ ts }}) = try_cast('{{ batch_placeholder() }}-01' as timestamp)
    {%- endif -%}
{%- endmacro %}
