{#-
    Tables of months: how they are made, how months are taken out of them and put into them. On Spark a month is
    a partition, named by `partition_by`; where the model has no such column, an hourly one, it is made from
    `time_column` and stands behind the model's own columns.
-#}
{% macro create_months(target, query, time_column=none) %}
    {{- return(adapter.dispatch('create_months')(target, query, time_column)) -}}
{% endmacro %}

{% macro default__create_months(target, query, time_column) -%}
    {{ create_table_as(False, target, query) }}
{%- endmacro %}

{% macro spark__create_months(target, query, time_column) -%}
    {%- if config.get('contract', {}).enforced -%}
        {%- do get_assert_columns_equivalent(query) -%}
    {%- endif -%}
    create table {{ target }} using parquet partitioned by ({{ config.require('partition_by') }}) as
{{ with_month(query, time_column) }}
{%- endmacro %}

{% macro clear_months(target, months, time_column=none) %}
    {{- return(adapter.dispatch('clear_months')(target, months, time_column)) -}}
{% endmacro %}

{% macro default__clear_months(target, months, time_column) -%}
    {%- call statement('clear') -%}
        delete from {{ target }}
        {% if time_column %}
        where {{ time_column }} >= timestamp '{{ month_start(months | first) }}'
        {% else %}
        where month in ('{{ months | join("', '") }}')
        {% endif %}
    {%- endcall -%}
{%- endmacro %}

{% macro spark__clear_months(target, months, time_column) -%}
    {%- for month in months -%}
        {%- call statement('clear') -%}
            alter table {{ target }} drop if exists
            partition ({{ config.require('partition_by') }} = '{{ month }}')
        {%- endcall -%}
    {%- endfor -%}
{%- endmacro %}

{% macro insert_months(target, query, time_column=none) %}
    {{- return(adapter.dispatch('insert_months')(target, query, time_column)) -}}
{% endmacro %}

{% macro default__insert_months(target, query, time_column) -%}
    {%- set columns = adapter.get_columns_in_relation(target) | map(attribute='quoted') | join(', ') -%}
    insert into {{ target }} ({{ columns }})
    select {{ columns }} from (
{{ query }}
) as batch
{%- endmacro %}

{#- The partitions that the query has rows of are replaced, no others: a month that has no rows left was
    taken out before. -#}
{% macro spark__insert_months(target, query, time_column) -%}
    {%- set columns = adapter.get_columns_in_relation(target) | map(attribute='quoted') | join(', ') -%}
    insert overwrite table {{ target }}
    select {{ columns }} from (
{{ with_month(query, time_column) }}
) as batch
{%- endmacro %}

{% macro with_month(query, time_column) -%}
    {%- set partition = config.require('partition_by') -%}
    {%- if time_column is none or partition in model.columns -%}
        {{ query }}
    {%- else -%}
    select
        by_time.*,
        date_format({{ time_column }}, 'yyyy-MM') as {{ partition }}
    from (
{{ query }}
) as by_time
    {%- endif -%}
{%- endmacro %}
