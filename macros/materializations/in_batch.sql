{% macro in_batch(month_column) -%}
    {%- if model.resource_type == 'unit_test' -%} true
    {%- else -%} {{ month_column }} = '{{ batch_placeholder() }}'
    {%- endif -%}
{%- endmacro %}

{% macro batch_placeholder() -%}
    YYYY-MM
{%- endmacro %}
