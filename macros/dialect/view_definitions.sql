{% macro view_definitions(names) %}
    {{- return(adapter.dispatch('view_definitions')(names)) -}}
{% endmacro %}

{% macro default__view_definitions(names) %}
    {%- set query -%}
        select md5(sql) as definition
        from duckdb_views()
        where
            database_name = '{{ target.database }}'
            and schema_name = '{{ target.schema }}'
            and view_name in ('{{ names | join("', '") }}')
        order by view_name
    {%- endset -%}
    {{ return(run_query(query).columns[0].values() | list) }}
{% endmacro %}

{#- Without the time when the view was made, as every build makes it anew. -#}
{% macro spark__view_definitions(names) %}
    {%- set definitions = [] -%}
    {%- for name in names -%}
        {%- set text = run_query('show create table ' ~ log_relation(name)).columns[0].values()[0] -%}
        {%- do definitions.append(local_md5(modules.re.sub("'transient_lastDdlTime' = '[0-9]+'", '', text))) -%}
    {%- endfor -%}
    {{ return(definitions) }}
{% endmacro %}
