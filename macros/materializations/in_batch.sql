{#- For `monthly`: the rows of the month that is being built. -#}
{% macro in_batch(month_column) -%}
    {%- if model.resource_type == 'unit_test' -%} true
    {%- else -%} {{ month_column }} = '{{ batch_placeholder() }}'
    {%- endif -%}
{%- endmacro %}

{#- The same of a table that has hours but no months. -#}
{% macro in_batch_hours(time_column) -%}
    {%- if model.resource_type == 'unit_test' -%} true
    {%- else -%}
        {{ time_column }} >= cast('{{ batch_placeholder() }}-01' as timestamp)
        and {{ time_column }} < cast('{{ batch_placeholder() }}-01' as timestamp) + interval '1' month
    {%- endif -%}
{%- endmacro %}

{#- For `hourly`: the rows of the hours that are being built, and of `meta.hours_before` before them. -#}
{% macro in_reach(time_column) -%}
    {%- if model.resource_type == 'unit_test' -%} true
    {%- else -%}
        {{ time_column }} >= timestamp '{{ reach_placeholder() }}'
        and {{ time_column }} < timestamp '{{ end_placeholder() }}'
    {%- endif -%}
{%- endmacro %}

{#- The same of a column with months, by which files are left alone that have nothing to say. -#}
{% macro in_reach_months(month_column) -%}
    {%- if model.resource_type == 'unit_test' -%} true
    {%- else -%}
        {{ month_column }} >= substr('{{ reach_placeholder() }}', 1, 7)
        and {{ month_column }} < substr('{{ end_placeholder() }}', 1, 7)
    {%- endif -%}
{%- endmacro %}

{#-
    For tests: the rows of a model that have not been found right before, and those of the hour before them, or of its
    month where rows have months but no hours of their own. No row depends on what is after it, so rows before the
    first change stand.
-#}
{% macro untested(relation) -%}
    {%- set ns = namespace(rows=relation) -%}
    {%- if execute and model.resource_type == 'test' -%}
        {%- for id in model.depends_on.nodes if id in graph.nodes -%}
            {%- set node = graph.nodes[id] -%}
            {%- set since = untested_since(node) if node.relation_name == relation | string -%}
            {%- if since -%}
                {%- set ns.rows = '(select * from ' ~ relation ~ ' where ' ~ since ~ ')' -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{ ns.rows }}
{%- endmacro %}

{% macro untested_since(node) %}
    {%- set made = node.config.materialized -%}
    {%- set time_column = time_column_of(node) -%}
    {%- if made == 'monthly' or made == 'view' and 'month' in node.columns -%}
        {{ return("month >= substr('" ~ untested_placeholder() ~ "', 1, 7)") }}
    {%- elif made == 'hourly' or made == 'view' and time_column in node.columns -%}
        {{ return(time_column ~ " >= timestamp '" ~ untested_placeholder() ~ "'") }}
    {%- endif -%}
{% endmacro %}

{% macro time_column_of(node) %}
    {{ return(node.config.meta.get('time_column', 'hour_ts')) }}
{% endmacro %}

{% macro batch_placeholder() -%}
    YYYY-MM
{%- endmacro %}

{% macro start_placeholder() -%}
    0001-01-01 00:00:02
{%- endmacro %}

{% macro reach_placeholder() -%}
    0001-01-01 00:00:01
{%- endmacro %}

{% macro end_placeholder() -%}
    9999-01-01 00:00:00
{%- endmacro %}

{% macro untested_placeholder() -%}
    0001-01-01 00:00:03
{%- endmacro %}
