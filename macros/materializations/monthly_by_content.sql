{#-
    A table whose rows of a month are made from what the tables above have in that month, and no sooner made
    again than their rows there have changed: it costs so much that a change far above, which comes to the same
    rows, shall not build it.
-#}
{% materialization monthly_by_content, default %}
    {%- set states = {} -%}
    {%- for id in model.depends_on.nodes -%}
        {%- set parent = graph.nodes[id] -%}
        {%- for month, content in contents_of_months(parent).items() -%}
            {%- do states.update({month: states.get(month, sql) ~ content}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- set rows = [] -%}
    {%- set recorded = recorded_states(model.name) -%}
    {%- for month, state in states | dictsort -%}
        {%- do rows.append({
            'month': month, 'wanted': local_md5(state), 'recorded': recorded.get(month, '')
        }) -%}
    {%- endfor -%}
    {%- for month in recorded if month not in states -%}
        {%- do rows.append({'month': month, 'wanted': '', 'recorded': recorded[month]}) -%}
    {%- endfor -%}
    {{ build_stale_months(rows) }}
    {{ return({'relations': [this.incorporate(type='table')]}) }}
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

{% macro recorded_states(name) %}
    {%- set query -%}
        select
            month,
            max_by(state, recorded_at) as state
        from {{ log_relation('build_states') }}
        where name = '{{ name }}'
        group by month
        having max_by(state, recorded_at) <> ''
        order by month
    {%- endset -%}
    {%- set states = {} -%}
    {%- for row in run_query(query).rows -%}
        {%- do states.update({row['month']: row['state']}) -%}
    {%- endfor -%}
    {{ return(states) }}
{% endmacro %}
