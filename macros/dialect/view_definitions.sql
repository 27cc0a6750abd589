{% macro view_definitions(names) %}
    {{- return(adapter.dispatch('view_definitions')(names)) -}}
{% endmacro %}

{% macro default__view_definitions(names) -%}
    select md5(sql) as definition
    from duckdb_views()
    where
        database_name = '{{ target.database }}'
        and schema_name = '{{ target.schema }}'
        and view_name in ('{{ names | join("', '") }}')
    order by view_name
{%- endmacro %}
