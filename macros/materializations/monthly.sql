{#-
    A table whose rows of a month are made from what it reads in that month, one month at a time and each in a
    transaction of its own: memory stays bounded, and a build that broke off goes on where it stopped. A month is
    built again when what it was made from has changed. dbt's microbatch goes by the clock instead: it would
    neither see a late file of an old month nor skip the months that stand.
-#}
{% materialization monthly, default %}
    {%- set target = this.incorporate(type='table') -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- set name = model.name -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}

    {%- set states = states_of_months(name, made_from(model, sql), is_cumulative=false) -%}
    {%- set stale = stale_months(states, existing) -%}
    {#- A table of which no month is kept is begun anew: its columns may be others. -#}
    {%- set kept = states | length > stale | length -%}
    {%- if not kept -%}
        {{ take_back(name, stale) }}
        {{ drop_relation_if_exists(existing) }}
        {%- call statement('create') -%}
            {{ create_months(target, batch_of_month('0001-01') ~ ' where false') }}
        {%- endcall -%}
        {%- do adapter.commit() -%}
    {%- elif stale -%}
        {{ take_back(name, stale) }}
        {{ clear_months(target, stale.keys() | list) }}
        {%- do adapter.commit() -%}
    {%- endif -%}

    {%- for month, state in stale.items() if state -%}
        {{ say_batch(month, loop.index, loop.length) }}
        {%- call statement('batch') -%}
            {{ insert_months(target, batch_of_month(month)) }}
        {%- endcall -%}
        {{ record_states(name, {month: state}) }}
        {%- do adapter.commit() -%}
    {%- endfor -%}
    {{ finish_table(target) }}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{#-
    Of the rows of `states_of_months` those whose month is to be built or, where the state is empty, dropped:
    month to state. `onwards`: with a month all that follow it.
-#}
{% macro stale_months(states, existing, onwards=false) %}
    {%- set has_table = existing and existing.is_table and not should_full_refresh() -%}
    {%- set stale = {} -%}
    {%- for row in states -%}
        {%- if (onwards and stale) or not has_table or row['wanted'] != row['recorded'] -%}
            {%- do stale.update({row['month']: row['wanted']}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(stale) }}
{% endmacro %}

{% macro batch_of_month(month) -%}
    select
        batch.*,
        '{{ month }}' as month
    from (
{{ sql | replace(batch_placeholder(), month) }}
) as batch
{%- endmacro %}

{#- Before anything changes, so that what breaks off is not taken for whole. -#}
{% macro take_back(name, months) %}
    {%- set nothing = {} -%}
    {%- for month in months -%}
        {%- do nothing.update({month: ''}) -%}
    {%- endfor -%}
    {{ record_states(name, nothing) }}
{% endmacro %}

{% macro say_batch(months, index, length) %}
    {%- do log(model.name ~ ': ' ~ months ~ ' (' ~ index ~ ' of ' ~ length ~ ')', info=True) -%}
{% endmacro %}

{% macro finish_table(target) %}
    {%- if not load_result('main') -%}
        {%- call statement('main') -%} select 1 as nothing_to_do {%- endcall -%}
    {%- endif -%}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do persist_docs(target, model) -%}
    {%- do adapter.commit() -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
{% endmacro %}
