{#-
    A table whose rows of a month are made, in Python, from what the tables above have in that month, and no
    sooner made again than their rows there have changed: it costs so much that a change far above, which comes to
    the same rows, shall not build it.
-#}
{% materialization monthly_by_content, default, supported_languages=['python'] %}
    {%- set target = this.incorporate(type='table') -%}
    {%- set piece = this.incorporate(path={'identifier': model.name ~ '__batch'}, type='table') -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- set name = model.name -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}

    {%- set contents = {} -%}
    {%- for id in model.depends_on.nodes -%}
        {%- for month, content in contents_of_months(graph.nodes[id]).items() -%}
            {%- do contents.update({month: contents.get(month, compiled_code) ~ content}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- set states = [] -%}
    {%- set recorded = recorded_states(name) -%}
    {%- for month, content in contents | dictsort -%}
        {%- do states.append({
            'month': month, 'wanted': local_md5(content), 'recorded': recorded.get(month, '')
        }) -%}
    {%- endfor -%}
    {%- for month in recorded if month not in contents -%}
        {%- do states.append({'month': month, 'wanted': '', 'recorded': recorded[month]}) -%}
    {%- endfor -%}
    {%- set stale = stale_months(states, existing) -%}
    {%- set kept = states | length > stale | length -%}

    {%- if stale or not kept -%}
        {{ take_back(name, stale) }}
        {%- if kept -%}
            {{ clear_months(target, stale.keys() | list) }}
        {%- else -%}
            {%- call statement('clear') -%} drop table if exists {{ target }} {%- endcall -%}
        {%- endif -%}
        {%- do adapter.commit() -%}
    {%- endif -%}

    {#- A table of no month at all is made of the month that is none. -#}
    {%- set ns = namespace(exists=kept) -%}
    {%- set months = stale.items() | selectattr(1) | map(attribute=0) | list -%}
    {%- for month in months or ([] if kept else ['']) -%}
        {{ say_batch(month, loop.index, loop.length) }}
        {{ drop_relation_if_exists(load_cached_relation(piece)) }}
        {%- call statement('batch', language='python') -%}
            {{ create_from_python(piece, compiled_code | replace(batch_placeholder(), month)) }}
        {%- endcall -%}
        {%- set rows = 'select *, ' ~ "'" ~ month ~ "' as month from " ~ piece -%}
        {%- call statement('batch') -%}
            {%- if ns.exists -%} {{ insert_months(target, rows) }}
            {%- else -%} {{ create_months(target, rows) }}
            {%- endif -%}
        {%- endcall -%}
        {%- call statement('drop') -%} drop table {{ piece }} {%- endcall -%}
        {%- set ns.exists = true -%}
        {{ record_states(name, {month: stale[month]} if month else {}) }}
        {%- do adapter.commit() -%}
    {%- endfor -%}
    {{ finish_table(target) }}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{#-
    Fingerprints of the months of an hourly table, kept on record, so that only months which were built since are
    read for it. Numbers are looked at in single precision: sums of several threads differ in the last digits
    from build to build, which is no reason to build anything again.
-#}
{% macro contents_of_months(node) %}
    {%- set relation = ref(node.name) -%}
    {%- set built = recorded_states(node.name) -%}
    {%- set contents = {} -%}
    {%- for month, content in recorded_states(node.name ~ ' content').items() -%}
        {#- the state that the month had when it was read, then what it contained -#}
        {%- if built.get(month) == content.split(': ') | first -%}
            {%- do contents.update({month: content.split(': ') | last}) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set new = {} -%}
    {%- set unread = built.keys() | reject('in', contents) | list -%}
    {%- if unread -%}
        {%- set values = [] -%}
        {%- for column in adapter.get_columns_in_relation(relation) -%}
            {%- if column.dtype | lower == 'double' -%}
                {%- do values.append('try_cast(' ~ column.name ~ ' as float)') -%}
            {%- else -%}
                {%- do values.append(column.name) -%}
            {%- endif -%}
        {%- endfor -%}
        {%- set query -%}
            select
                substr(cast(hour_ts as string), 1, 7) as month,
                count(*) || ' rows ' || bit_xor({{ hash_of(values) }}) as content
            from {{ relation }}
            where hour_ts >= timestamp '{{ month_start(unread | min) }}'
            group by substr(cast(hour_ts as string), 1, 7)
        {%- endset -%}
        {%- for row in run_query(query).rows if row['month'] in unread -%}
            {%- do contents.update({row['month']: row['content']}) -%}
            {%- do new.update({row['month']: built[row['month']] ~ ': ' ~ row['content']}) -%}
        {%- endfor -%}
        {{ record_states(node.name ~ ' content', new) }}
        {%- do adapter.commit() if new -%}
    {%- endif -%}
    {{ return(contents) }}
{% endmacro %}
