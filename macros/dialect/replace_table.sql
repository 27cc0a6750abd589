{% macro replace_table(relation, query) %}
    {{- return(adapter.dispatch('replace_table')(relation, query)) -}}
{% endmacro %}

{% macro default__replace_table(relation, query) -%}
    create or replace table {{ relation }} as
{{ query }}
{%- endmacro %}

{% macro spark__replace_table(relation, query) -%}
    {%- do run_query('drop table if exists ' ~ relation) -%}
    create table {{ relation }} using parquet as
{{ query }}
{%- endmacro %}
