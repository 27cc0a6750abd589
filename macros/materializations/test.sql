{#-
    In `dbt build` a test is not run again on what it has passed on: what it reads is the same, and so is its code.
    Tests that look at rows of an hourly table one by one look at the months that have changed (`untested`).
    `dbt test` runs every test on every row. In all else it is dbt's own test.
-#}
{% materialization test, default %}
    {%- set name = model.unique_id -%}
    {%- set inputs = made_from(model, sql) -%}
    {%- set untested = {} -%}
    {%- for row in states_of_months(name, inputs, is_cumulative=true) -%}
        {%- if untested or row['wanted'] != row['recorded'] or flags.WHICH != 'build' -%}
            {%- do untested.update({row['month']: row['wanted']}) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set relations = [] -%}

    {%- if not untested and flags.WHICH == 'build' and not should_store_failures() -%}
        {%- call statement('main', fetch_result=True) -%}
            select 0 as failures, false as should_warn, false as should_error
        {%- endcall -%}
        {{ return({'relations': relations}) }}
    {%- endif -%}

    {%- set first_hour = hours_earlier(untested.keys() | first or no_month(), 1) -%}
    {%- set failing_rows = get_limit_subquery_sql(
        sql | replace(untested_placeholder(), first_hour), config.get('limit')
    ) -%}
    {%- if should_store_failures() -%}
        {%- set stored = api.Relation.create(
            database=database, schema=schema, identifier=model['alias'],
            type=config.get('store_failures_as') or 'table'
        ) -%}
        {%- do drop_relation_if_exists(load_cached_relation(stored)) -%}
        {%- call statement(auto_begin=True) -%} {{ get_create_sql(stored, failing_rows) }} {%- endcall -%}
        {%- do relations.append(stored) -%}
        {%- do adapter.commit() -%}
        {%- set failing_rows = 'select * from ' ~ stored -%}
    {%- endif -%}

    {%- call statement('main', fetch_result=True) -%}
        {{ get_test_sql(
            failing_rows, config.get('fail_calc'), config.get('warn_if'), config.get('error_if'), limit=none
        ) }}
    {%- endcall -%}
    {%- if load_result('main').table.columns['failures'].values()[0] == 0 -%}
        {{ record_states(name, untested) }}
    {%- else -%}
        {{ take_back(name, untested) }}
    {%- endif -%}
    {%- do adapter.commit() if untested -%}
    {{ return({'relations': relations}) }}
{% endmaterialization %}

{#- Spark takes longer to look up what has passed than to test it again. -#}
{% materialization test, adapter='spark' %}
    {{ return(dbt.materialization_test_default()) }}
{% endmaterialization %}
