{#-
    What dbt has done to the warehouse, one row of `build_log` per invocation that ran models, seeds or tests.
    `perp publish` trusts a warehouse by it. A row can only be written at the end, so `build_starts` gets one at
    the start: a start that no row of `build_log` follows is a build that was killed.
    Rows are only ever inserted, which every engine can do.
-#}
{% macro record_build_start() %}
    {%- if execute and writes_warehouse() -%}
        {%- set relation = log_relation('build_starts') -%}
        {%- do run_query(
            'create table if not exists ' ~ relation
            ~ ' (invocation_id string, command string, started_at timestamp)'
        ) -%}
        insert into {{ relation }} (invocation_id, command, started_at)
        select
            cast('{{ invocation_id }}' as string) as invocation_id,
            cast('{{ flags.WHICH }}' as string) as command,
            {{ utc_timestamp(run_started_at) }} as started_at
    {%- endif -%}
{% endmacro %}

{#- `results` is what dbt hands to on-run-end hooks. -#}
{% macro record_build(results) %}
    {%- if execute and writes_warehouse() -%}
        {%- set tables = ['model', 'seed', 'snapshot'] -%}
        {%- set checks = ['test', 'unit_test'] -%}
        {%- set done = {} -%}
        {%- set count = {'tables': [], 'checks': [], 'errors': [], 'warnings': [], 'skipped': []} -%}
        {%- for result in results if result.node.resource_type in tables + checks -%}
            {%- do done.update({result.node.unique_id: true}) -%}
            {%- set is_table = result.node.resource_type in tables -%}
            {%- if result.status == 'skipped' -%}
                {%- do count['skipped'].append(1) -%}
            {%- else -%}
                {%- do count['tables' if is_table else 'checks'].append(1) -%}
            {%- endif -%}
            {%- if result.status == 'warn' -%}
                {%- do count['warnings'].append(1) -%}
            {%- elif result.status not in ('success', 'pass', 'skipped', 'no-op') -%}
                {%- do count['errors'].append(1) -%}
            {%- endif -%}
        {%- endfor -%}

        {#- Unit tests say nothing about the data and may be left out; --empty and --sample leave out rows. -#}
        {%- set left_out = [] -%}
        {%- for node in graph.nodes.values()
            if node.resource_type in tables + ['test']
            and node.config.materialized != 'ephemeral'
            and node.unique_id not in done
        -%}
            {%- do left_out.append(node.unique_id) -%}
        {%- endfor -%}
        {%- set is_cut = invocation_args_dict.get('empty') or invocation_args_dict.get('sample') -%}
        {%- set is_whole = not left_out and not is_cut -%}

        {%- set relation = log_relation('build_log') -%}
        {%- do run_query(
            'create table if not exists ' ~ relation ~ ' (invocation_id string, command string,'
            ~ ' started_at timestamp, ended_at timestamp, is_whole boolean, n_models bigint,'
            ~ ' n_tests bigint, n_errors bigint, n_warnings bigint, n_skipped bigint)'
        ) -%}
        insert into {{ relation }} (
            invocation_id, command, started_at, ended_at, is_whole, n_models, n_tests, n_errors,
            n_warnings, n_skipped
        )
        select
            cast('{{ invocation_id }}' as string) as invocation_id,
            cast('{{ flags.WHICH }}' as string) as command,
            {{ utc_timestamp(run_started_at) }} as started_at,
            {{ utc_timestamp(modules.datetime.datetime.now(modules.pytz.utc)) }} as ended_at,
            {{ 'true' if is_whole else 'false' }} as is_whole,
            cast({{ count['tables'] | length }} as bigint) as n_models,
            cast({{ count['checks'] | length }} as bigint) as n_tests,
            cast({{ count['errors'] | length }} as bigint) as n_errors,
            cast({{ count['warnings'] | length }} as bigint) as n_warnings,
            cast({{ count['skipped'] | length }} as bigint) as n_skipped
    {%- endif -%}
{% endmacro %}

{% macro writes_warehouse() %}
    {{ return(flags.WHICH in ('build', 'run', 'seed', 'snapshot', 'test', 'retry', 'clone')) }}
{% endmacro %}

{% macro log_relation(name) %}
    {{ return(api.Relation.create(database=target.database or none, schema=target.schema, identifier=name)) }}
{% endmacro %}

{% macro utc_timestamp(moment) -%}
    cast('{{ moment.strftime("%Y-%m-%d %H:%M:%S.%f") }}' as timestamp)
{%- endmacro %}
