{#- DuckDB reads the files that a source names by itself. Spark gets a view for each source, with the columns
    and types that its yml declares: one database per source, one view per dataset. -#}
{% macro stage_lake() %}
    {%- if execute and writes_warehouse() -%}
        {{- adapter.dispatch('stage_lake')() -}}
    {%- endif -%}
{% endmacro %}

{% macro default__stage_lake() %}
{% endmacro %}

{% macro spark__stage_lake() %}
    {%- set lake = env_var('PERP_LAKE', 'data/lake') | replace('s3://', 's3a://') -%}
    {%- set mode = run_query('set spark.sql.sources.partitionOverwriteMode').columns[1].values()[0] -%}
    {%- if mode | lower != 'dynamic' -%}
        {{ exceptions.raise_compiler_error(
            'spark.sql.sources.partitionOverwriteMode is ' ~ mode ~ ': a month would replace all others. Set it to '
            ~ 'DYNAMIC in server_side_parameters of profiles.yml, or in the configuration of the server.'
        ) }}
    {%- endif -%}
    {%- set views = {} -%}
    {%- for name in graph.sources.values() | map(attribute='schema') | unique -%}
        {%- do run_query('create database if not exists ' ~ name) -%}
        {%- do views.update({name: run_query('show views in ' ~ name).columns['viewName'].values()}) -%}
    {%- endfor -%}
    {%- for source in graph.sources.values() -%}
        {%- set view = source.schema ~ '.' ~ source.identifier -%}
        {%- set columns = [] -%}
        {%- for column in source.columns.values() -%}
            {#- Spark takes the bytes of a path's %E5%B8 for letters. -#}
            {%- set is_of_path = column.name == 'symbol' and source.source_name != 'lake' -%}
            {%- set value = "decode(encode(symbol, 'ISO-8859-1'), 'UTF-8')" if is_of_path else column.name -%}
            {%- do columns.append('cast(' ~ value ~ ' as ' ~ column.data_type ~ ') as ' ~ column.name) -%}
        {%- endfor -%}
        {%- set files = spark_lines(lake, source) if source.source_name == 'lake' else spark_files(lake, source) -%}
        {%- set query = 'select ' ~ columns | join(', ') ~ ' from ' ~ files -%}
        {#- Making one takes a second, as files are looked at; asking for a property takes none. -#}
        {%- set made_of = '' -%}
        {%- if source.identifier in views[source.schema] -%}
            {%- set made_of = run_query('show tblproperties ' ~ view ~ " ('made_of')").columns[1].values()[0] -%}
        {%- endif -%}
        {%- if made_of != local_md5(query) -%}
            {%- do run_query(
                'create or replace view ' ~ view ~ " tblproperties ('made_of' = '" ~ local_md5(query) ~ "') as "
                ~ query
            ) -%}
        {%- endif -%}
    {%- endfor -%}
{% endmacro %}

{#- The months of a dataset; `symbol` and `month` come from the path. -#}
{% macro spark_files(lake, source) -%}
    parquet.`{{ lake }}/{{ source.source_name }}/{{ source.name }}`
{%- endmacro %}

{#- A line that is no JSON reads as NULLs. -#}
{% macro spark_lines(lake, source) -%}
    {%- set fields = [] -%}
    {%- for column in source.columns.values() -%}
        {%- do fields.append(column.name ~ ': ' ~ column.data_type) -%}
    {%- endfor -%}
    (
        select line.* from (
            select from_json(value, 'struct<{{ fields | join(', ') }}>') as line
            from text.`{{ lake }}/_log/*.jsonl`
        )
    )
{%- endmacro %}
