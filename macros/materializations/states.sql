{#-
    What every table was built from, month by month. A month's state is a number that follows from the code of
    the table and from the states of what it reads in that month: landings of files, tables, seeds, the code of
    views between. Where the state that a month should have is not the one on record, the month is to be built.

    `landings` has the landings as they were when the run began, so all of a run goes by the same; what lands
    meanwhile is for the next run. `build_states` only ever grows, which every engine can do: the last record of
    a month counts, and an empty state says that the month is not to be trusted.
-#}
{% macro prepare_states() %}
    {%- if execute and writes_warehouse() -%}
        {{ create_states(log_relation('build_states')) }}
        {%- set landings -%}
        with
        log as (
            select * from {{ source('lake', 'landing_log') }}
            where status is not null
        ),

        final as (
            select
                source || '/' || dataset as name,
                month,
                count(*) || ' landings, ' || coalesce(sum(rows_out), 0) || ' rows, last '
                || max(log_seq) || ' at ' || max(landed_at) as state
            from log
            where status = 'landed'
            group by source, dataset, month
            union all
            select
                'lake/log' as name,
                month,
                count(*) || ' lines, last ' || max(log_seq) || ' at ' || max(landed_at) as state
            from log
            group by month
        )

        select * from final
        {%- endset -%}
        {{ replace_table(log_relation('landings'), landings) }}
    {%- endif -%}
{% endmacro %}

{#-
    The months of a table, each with the state that it should have and the one on record. `is_cumulative`: a row
    may depend on all that is before it, so a month's state covers the months before it too, and there is none
    between the first and the last without one; and on `months_after` that follow, where a row looks ahead.
-#}
{% macro states_of_months(name, inputs, is_cumulative, months_after=0) %}
    {{- return(adapter.dispatch('states_of_months')(name, inputs, is_cumulative, months_after)) -}}
{% endmacro %}

{% macro default__states_of_months(name, inputs, is_cumulative, months_after) %}
    {%- set horizon = 'int_horizon' -%}
    {%- set query -%}
        with
        recorded as (
            select
                name,
                month,
                max_by(state, recorded_at) as state
            from {{ log_relation('build_states') }}
            where name in ('{{ (inputs.tables + [name]) | join("', '") }}')
            group by name, month
        ),

        made_from as (
            select name, month, state
            from {{ log_relation('landings') }}
            where name in ('{{ inputs.landings | join("', '") }}')
            union all
            select name, month, state
            from recorded
            where name not in ('{{ name }}', '{{ horizon }}') and state <> ''
        ),

        timeless as (
            select coalesce(bit_xor({{ hash_of(['name', 'state']) }}), 0) as fingerprint
            from made_from
            where month = '{{ no_month() }}'
        ),

        numbered as (
            select
                *,
                12 * cast(substr(month, 1, 4) as int) + cast(substr(month, 6, 2) as int) - 1 as n
            from made_from
            where month <> '{{ no_month() }}'
        ),

        bounds as (
            select
                min(n) as first_n,
                max(n) as last_n
            from numbered
        ),

        numbers as (
            select {{ explode(vector_range('first_n', 'last_n + 1')) }} as n
            from bounds
            where first_n is not null
        ),

        months as (
            select
                n,
                lpad(cast(cast(floor(n / 12e0) as int) as string), 4, '0') || '-'
                || lpad(cast(n % 12 + 1 as string), 2, '0') as month
            from numbers
        ),

        {#- How much of a month is published belongs to it: hours that the horizon hid may follow later. -#}
        parts as (
            select
                n,
                {{ hash_of(['name', 'n', 'state']) }} as fingerprint
            from numbered
            {% if horizon in inputs.tables %}
            union all
            select
                months.n,
                {{ hash_of([
                    'months.n',
                    "least(horizon.horizon_ts, cast(months.month || '-01' as timestamp) + interval '1' month)"
                ]) }} as fingerprint
            from months
            cross join {{ log_relation(horizon) }} as horizon
            {% endif %}
        ),

        {#- Rows reach into months that nothing was read for, if at all, from months before. -#}
        fingerprints as (
            select
                months.n,
                months.month,
                coalesce(bit_xor(parts.fingerprint), 0) as fingerprint
            from months
            {{ 'left' if is_cumulative else 'inner' }} join parts on months.n = parts.n
            group by months.n, months.month
        ),

        {#- Whatever has no months is one: that of no month. -#}
        states as (
            select
                month,
                {% if is_cumulative %}
                bit_xor(fingerprint) over (
                    order by n
                    rows between unbounded preceding
                    and {{ months_after ~ ' following' if months_after else 'current row' }}
                ) as fingerprint
                {% else %}
                fingerprint
                {% endif %}
            from fingerprints
            union all
            select
                '{{ no_month() }}' as month,
                0 as fingerprint
            where not exists (select 1 from months)
        ),

        wanted as (
            select
                states.month,
                cast({{ hash_of([
                    "'" ~ inputs.code ~ "'", 'states.fingerprint', 'timeless.fingerprint'
                ]) }} as string) as state
            from states
            cross join timeless
        ),

        own as (
            select month, state
            from recorded
            where name = '{{ name }}' and state <> ''
        )

        select
            coalesce(wanted.month, own.month) as month,
            coalesce(wanted.state, '') as wanted,
            coalesce(own.state, '') as recorded
        from wanted
        full outer join own on wanted.month = own.month
        order by 1
    {%- endset -%}
    {{ return(run_query(query).rows) }}
{% endmacro %}

{#- The same with fingerprints made here: Spark would take twenty seconds for the query above. -#}
{% macro spark__states_of_months(name, inputs, is_cumulative, months_after) %}
    {%- set horizon = 'int_horizon' -%}
    {%- set parts = {} -%}
    {%- for table in inputs.tables | reject('equalto', horizon) | sort -%}
        {%- for month, state in recorded_states(table).items() -%}
            {%- do parts.setdefault(month, []).append(table ~ ' ' ~ state) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- if inputs.landings -%}
        {%- set query -%}
            select name, month, state
            from {{ log_relation('landings') }}
            where name in ('{{ inputs.landings | join("', '") }}')
        {%- endset -%}
        {%- for row in run_query(query).rows | sort(attribute='name') -%}
            {%- do parts.setdefault(row['month'], []).append(row['name'] ~ ' ' ~ row['state']) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- set ns = namespace(horizon=none, before='') -%}
    {%- if horizon in inputs.tables -%}
        {%- set query = 'select cast(horizon_ts as string) from ' ~ log_relation(horizon) -%}
        {%- set ns.horizon = run_query(query).columns[0].values()[0] -%}
    {%- endif -%}
    {%- set own = recorded_states(name) -%}
    {%- set timeless = inputs.code ~ parts.pop(no_month(), []) -%}

    {#- Rows reach into months that nothing was read for, if at all, from months before. -#}
    {%- set months = [] -%}
    {%- if parts -%}
        {%- do months.append(parts | min) -%}
        {%- for _ in range(12 * 200) if months[-1] < parts | max -%}
            {%- do months.append(month_after(months[-1])) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- set fingerprints = [] -%}
    {%- for month in months -%}
        {%- set ns.before = local_md5(
            (ns.before if is_cumulative else '') ~ parts.get(month)
            ~ ([ns.horizon, month_after(month)] | min if ns.horizon else '')
        ) -%}
        {%- do fingerprints.append(ns.before) -%}
    {%- endfor -%}
    {%- set wanted = {} -%}
    {%- for month in months if is_cumulative or ns.horizon or month in parts -%}
        {%- set seen = [months.index(month) + months_after, months | length - 1] | min -%}
        {%- do wanted.update({month: local_md5(timeless ~ fingerprints[seen])}) -%}
    {%- else -%}
        {%- do wanted.update({no_month(): local_md5(timeless)}) -%}
    {%- endfor -%}

    {%- set states = [] -%}
    {%- for month in (wanted.keys() | list + own.keys() | list) | unique | sort -%}
        {%- do states.append(
            {'month': month, 'wanted': wanted.get(month, ''), 'recorded': own.get(month, '')}
        ) -%}
    {%- endfor -%}
    {{ return(states) }}
{% endmacro %}

{% macro no_month() -%}
    none
{%- endmacro %}

{#- `states`: month to state; an empty one takes the month back. -#}
{% macro record_states(name, states) %}
    {%- if states -%}
        {{ insert_states(log_relation('build_states'), name, states) }}
    {%- endif -%}
{% endmacro %}

{% macro utc_now() -%}
    {{ utc_timestamp(modules.datetime.datetime.now(modules.pytz.utc)) }}
{%- endmacro %}

{#-
    What a node is made from: `tables` and `landings` by name, and `code`, a fingerprint of its own code, of the
    seeds that it reads and of the views between it and its tables. A view's code is taken as it stands in the
    warehouse: only there the vars are filled in.
-#}
{% macro made_from(node, code) %}
    {%- set found = {'tables': [], 'landings': [], 'views': [], 'seeds': []} -%}
    {%- do find_inputs(node, found) -%}
    {%- set texts = [code] + found.seeds | unique | sort | list -%}
    {%- if found.views -%}
        {%- do texts.extend(view_definitions(found.views | unique | sort | list)) -%}
    {%- endif -%}
    {{ return({
        'tables': found.tables | unique | list,
        'landings': found.landings | unique | list,
        'code': local_md5(texts | join(' ')),
    }) }}
{% endmacro %}

{% macro find_inputs(node, found) %}
    {%- for id in node.depends_on.nodes -%}
        {%- if id in graph.sources -%}
            {%- set source = graph.sources[id] -%}
            {%- do found.landings.append(
                'lake/log' if source.source_name == 'lake' else source.source_name ~ '/' ~ source.name
            ) -%}
        {%- else -%}
            {%- set parent = graph.nodes[id] -%}
            {%- if parent.resource_type == 'seed' -%}
                {%- do found.seeds.append(parent.name ~ ' ' ~ parent.checksum.checksum) -%}
            {%- elif parent.config.materialized in ('view', 'ephemeral') -%}
                {%- if parent.config.materialized == 'view' -%}
                    {%- do found.views.append(parent.alias) -%}
                {%- endif -%}
                {%- do find_inputs(parent, found) -%}
            {%- else -%}
                {%- do found.tables.append(parent.name) -%}
            {%- endif -%}
        {%- endif -%}
    {%- endfor -%}
{% endmacro %}
