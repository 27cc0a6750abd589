{#- The records of what months were built from: a table that is only ever added to. On Spark, where two threads may
    not add to one table, they are properties of the table that they speak of, `state 2024-03`, and go with it. -#}
{% macro create_states(relation) %}
    {{- return(adapter.dispatch('create_states')(relation)) -}}
{% endmacro %}

{% macro default__create_states(relation) %}
    {%- do run_query(
        'create table if not exists ' ~ relation
        ~ ' (name string, month string, state string, recorded_at timestamp)'
    ) -%}
{% endmacro %}

{% macro spark__create_states(relation) %}
{% endmacro %}

{% macro insert_states(relation, name, states) %}
    {{- return(adapter.dispatch('insert_states')(relation, name, states)) -}}
{% endmacro %}

{% macro default__insert_states(relation, name, states) -%}
    {%- set rows = [] -%}
    {%- for month, state in states.items() -%}
        {%- do rows.append("('" ~ name ~ "', '" ~ month ~ "', '" ~ state ~ "', " ~ utc_now() ~ ')') -%}
    {%- endfor -%}
    {%- call statement('states') -%}
        insert into {{ relation }} (name, month, state, recorded_at)
        values {{ rows | join(', ') }}
    {%- endcall -%}
{%- endmacro %}

{#- What is taken back from a table that is not there yet needs no record. -#}
{% macro spark__insert_states(relation, name, states) -%}
    {%- set table = log_relation(name.split(' ')[0]) -%}
    {%- if states.values() | select | list or load_cached_relation(table) -%}
        {%- set properties = [] -%}
        {%- for month, state in states.items() -%}
            {%- do properties.append("'" ~ state_property(name, month) ~ "' = '" ~ state ~ "'") -%}
        {%- endfor -%}
        {%- call statement('states') -%}
            alter table {{ table }} set tblproperties ({{ properties | join(', ') }})
        {%- endcall -%}
    {%- endif -%}
{%- endmacro %}

{% macro recorded_states(name) %}
    {{- return(adapter.dispatch('recorded_states')(name)) -}}
{% endmacro %}

{% macro default__recorded_states(name) %}
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

{% macro spark__recorded_states(name) %}
    {%- set table = log_relation(name.split(' ')[0]) -%}
    {%- set prefix = state_property(name, '') -%}
    {%- set states = {} -%}
    {%- if load_cached_relation(table) -%}
        {%- for row in run_query('show tblproperties ' ~ table).rows -%}
            {%- if row[0].startswith(prefix) and row[1] -%}
                {%- do states.update({row[0][prefix | length:]: row[1]}) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(states) }}
{% endmacro %}

{% macro state_property(name, month) -%}
    {{ return('state' ~ name[name.split(' ')[0] | length:] ~ ' ' ~ month) }}
{%- endmacro %}
