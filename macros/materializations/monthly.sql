{#-
    Builds a model month by month, each month in a transaction of its own, which bounds memory and lets an
    interrupted build go on where it stopped. A month is built again when files of the datasets in
    `meta.lake_inputs` have landed since (by the landing log), or when the SQL has changed; nothing else is
    touched. A model whose windows reach back into earlier months says so in `meta.months_before`; then what
    has landed for those counts too. dbt's microbatch goes by the clock instead: it would neither see a late file of an old month
    nor skip the months that stand.
-#}
{% materialization monthly, default %}
    {%- set target = this.incorporate(type='table') -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- set code = local_md5(sql ~ code_above(model)) -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- set states = {} -%}
    {%- for row in landed_months(config.get('meta')['lake_inputs']) -%}
        {%- do states.update({row['month']: row['state']}) -%}
    {%- endfor -%}
    {%- set landed = {} -%}
    {%- for month, state in states.items() -%}
        {%- set reached = [state] -%}
        {%- for n in range(1, config.get('meta').get('months_before', 0) + 1) -%}
            {%- do reached.append(states.get(month_before(month, n), 'nothing')) -%}
        {%- endfor -%}
        {%- do landed.update({month: 'code ' ~ code ~ ', ' ~ reached | join('; before it ')}) -%}
    {%- endfor -%}

    {{ build_months(target, existing, landed) }}

    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{#- Builds the months whose state is not the one that they were built from, and drops those without one. -#}
{% macro build_months(target, existing, states) %}
    {%- set built = {} -%}
    {%- set columns = adapter.get_columns_in_relation(existing) | map(attribute='name') if existing -%}
    {%- if 'built_from' in columns and not should_full_refresh() -%}
        {%- for row in run_query('select distinct month, built_from from ' ~ existing).rows -%}
            {%- do built.update({row['month']: row['built_from']}) -%}
        {%- endfor -%}
    {%- endif -%}

    {#- A table that other code has built is of no use: begin anew, its columns may differ. -#}
    {%- set kept = built.values() | select('in', states.values()) | list -%}
    {%- if not kept -%}
        {%- do drop_relation_if_exists(existing) -%}
        {%- call statement('create') -%}
            {{ create_table_as(False, target, batch_of_month(sql, '', '') ~ ' where false') }}
        {%- endcall -%}
        {%- set built = {} -%}
    {%- endif -%}

    {%- set stale = [] -%}
    {%- for month, state in states.items() -%}
        {%- if built.get(month) != state -%}
            {%- do stale.append(month) -%}
        {%- endif -%}
    {%- endfor -%}

    {#- Months that are gone from the lake go here too. -#}
    {%- set obsolete = built.keys() | reject('in', states) | list + stale -%}
    {%- call statement('main') -%}
        delete from {{ target }} where month in ('{{ (obsolete + ['none']) | join("', '") }}')
    {%- endcall -%}

    {%- for month in stale -%}
        {%- do log(
            this.identifier ~ ': ' ~ month ~ ' (' ~ loop.index ~ ' of ' ~ stale | length ~ ')',
            info=True
        ) -%}
        {%- call statement('month') -%}
            insert into {{ target }} {{ batch_of_month(sql, month, states[month]) }}
        {%- endcall -%}
        {%- do adapter.commit() -%}
    {%- endfor -%}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do persist_docs(target, model) -%}
    {%- do adapter.commit() -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
{% endmacro %}


{% macro batch_of_month(sql, month, state) -%}
    select
        batch.*,
        '{{ month }}' as month,
        '{{ state }}' as built_from
    from ({{ sql | replace(batch_placeholder(), month) }}) as batch
{%- endmacro %}

{% macro month_before(month, n) %}
    {%- set count = month[:4] | int * 12 + month[5:] | int - 1 - n -%}
    {{ return('%04d-%02d' | format(count // 12, count % 12 + 1)) }}
{% endmacro %}

{#- The SQL of the models above and of the macros that they call: a change there is a change here. -#}
{% macro code_above(node) %}
    {%- set code = [] -%}
    {%- for id in node.depends_on.nodes if id in graph.nodes -%}
        {%- set parent = graph.nodes[id] -%}
        {%- do code.append(parent.checksum.checksum) -%}
        {%- do code.append(code_of_macros(parent.depends_on.macros)) -%}
        {%- do code.append(code_above(parent)) -%}
    {%- endfor -%}
    {{ return(code | join(' ')) }}
{% endmacro %}

{% macro code_of_macros(ids) %}
    {%- set code = [] -%}
    {%- for id in ids if id.startswith('macro.' ~ project_name ~ '.') -%}
        {%- set macro = context[id.split('.') | last].macro -%}
        {%- do code.append(macro.macro_sql) -%}
        {%- do code.append(code_of_macros(macro.depends_on.macros)) -%}
    {%- endfor -%}
    {{ return(code | join(' ')) }}
{% endmacro %}
