{#-
    What a session needs before it can read a lake in an object store. DuckDB takes credentials and region from the
    AWS variables when it loads httpfs, unless it has a secret of its own for the address; what it does not take from
    there is the endpoint of another server than AWS. No credential is part of a statement, as dbt logs them all.
-#}
{% macro reach_lake(lake) %}
    {{- adapter.dispatch('reach_lake')(lake) -}}
{% endmacro %}

{% macro default__reach_lake(lake) %}
    {%- if lake.startswith('s3://') -%}
        {%- set query -%}
            select count(*) as n_found
            from duckdb_extensions()
            where extension_name = 'httpfs' and (installed or loaded)
        {%- endset -%}
        {%- if run_query(query).columns[0].values()[0] == 0 -%}
            {{- exceptions.raise_compiler_error(
                "DuckDB reads the lake '" ~ lake ~ "' with its extension httpfs, which is not installed here. "
                ~ "Install it once, as the user who builds: "
                ~ "`.venv/bin/python -c \"import duckdb; duckdb.execute('install httpfs')\"`; "
                ~ "docs/object_storage.md says more."
            ) -}}
        {%- endif -%}
        {%- do run_query('load httpfs') -%}
        {%- set endpoint = env_var('AWS_ENDPOINT_URL_S3', '') or env_var('AWS_ENDPOINT_URL', '') -%}
        {%- for setting in s3_settings(endpoint) -%}
            {%- do run_query('set global ' ~ setting) -%}
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}

{% macro spark__reach_lake(lake) %}
    {#- Nothing: the settings of a Spark session say how it reaches object stores. -#}
{% endmacro %}

{% macro s3_settings(endpoint) %}
    {%- set scheme, _, place = endpoint.rpartition('://') -%}
    {%- if not place -%}
        {{- return([]) -}}
    {%- endif -%}
    {{- return([
        "s3_endpoint = '" ~ (place | replace("'", "''")).rstrip('/') ~ "'",
        's3_use_ssl = ' ~ ('false' if scheme == 'http' else 'true'),
        "s3_url_style = 'path'",
    ]) -}}
{% endmacro %}
