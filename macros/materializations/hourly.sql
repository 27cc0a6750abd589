{#-
    A table whose rows depend on what is at and before their hour. It is built from the first hour of the first
    month that something has changed in, `batch_months` months at a time. What a batch reads of the tables above
    begins `meta.hours_before` before it (`in_reach`); 'all' stands for all that there is, then it is one batch.
    `meta.time_column` says when a row is, if that is not hour_ts.
-#}
{% materialization hourly, default, supported_languages=['sql', 'python'] %}
    {%- set target = this.incorporate(type='table') -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- set name = model.name -%}
    {%- set time_column = time_column_of(model) -%}
    {%- set hours_before = config.get('meta')['hours_before'] -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}

    {%- set inputs = made_from(model, compiled_code) -%}
    {%- set states = states_of_months(name, inputs, is_cumulative=true) -%}
    {%- set stale = stale_months(states, existing, onwards=true) -%}
    {%- set kept = states | length > stale | length -%}
    {%- set months = stale.items() | selectattr(1) | map(attribute=0) | list -%}

    {%- if stale -%}
        {{ take_back(name, stale) }}
        {%- if kept -%}
            {{ clear_months(target, stale.keys() | list, time_column) }}
        {%- else -%}
            {{ drop_relation_if_exists(existing) }}
        {%- endif -%}
    {%- endif -%}
    {%- if model.language == 'python' -%}
        {%- do adapter.commit() if stale -%}
    {%- endif -%}

    {%- set ns = namespace(exists=kept) -%}
    {%- set size = months | length if hours_before == 'all' else var('batch_months') -%}
    {%- for batch in months | batch(size) -%}
        {%- set between = batch | first if batch | length == 1 else batch | first ~ ' to ' ~ batch | last -%}
        {{ say_batch(between, loop.index, loop.length) }}
        {%- set code = batch_of_hours(compiled_code, batch, hours_before) -%}
        {%- if model.language == 'python' -%}
            {%- set piece = this.incorporate(path={'identifier': name ~ '__batch'}, type='table') -%}
            {{ drop_relation_if_exists(load_cached_relation(piece)) }}
            {%- call statement('batch', language='python') -%}
                {{ create_from_python(piece, code) }}
            {%- endcall -%}
            {%- set code = 'select * from ' ~ piece -%}
        {%- endif -%}
        {%- set code = rows_of_hours(code, batch, time_column) -%}
        {%- call statement('batch') -%}
            {%- if ns.exists -%}
                {{ insert_months(target, code, time_column) }}
            {%- else -%}
                {{ create_months(target, code, time_column) }}
            {%- endif -%}
        {%- endcall -%}
        {%- if model.language == 'python' -%}
            {%- call statement('drop') -%} drop table {{ piece }} {%- endcall -%}
        {%- endif -%}
        {%- set ns.exists = true -%}
        {%- set done = {} -%}
        {%- for month in batch -%}
            {%- do done.update({month: stale[month]}) -%}
        {%- endfor -%}
        {{ record_states(name, done) }}
        {%- do adapter.commit() -%}
    {%- endfor -%}
    {{ finish_table(target) }}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{% macro batch_of_hours(code, months, hours_before) %}
    {%- set end = month_start(month_after(months | last)) -%}
    {%- set reach = '0001-01-01' if hours_before == 'all' else hours_earlier(months | first, hours_before) -%}
    {{ return(
        code | replace(start_placeholder(), month_start(months | first))
        | replace(reach_placeholder(), reach)
        | replace(end_placeholder(), end)
    ) }}
{% endmacro %}

{% macro hours_earlier(month, hours) %}
    {%- if month == no_month() -%}
        {{ return('0001-01-01') }}
    {%- endif -%}
    {%- set start = modules.datetime.datetime.strptime(month_start(month), '%Y-%m-%d') -%}
    {{ return((start - modules.datetime.timedelta(hours=hours)) | string) }}
{% endmacro %}

{% macro rows_of_hours(query, months, time_column) -%}
    select * from (
{{ query }}
) as batch
    where
        {{ time_column }} >= timestamp '{{ month_start(months | first) }}'
        and {{ time_column }} < timestamp '{{ month_start(month_after(months | last)) }}'
{%- endmacro %}

{#- A table without months, made from seeds alone, is one batch of all time. -#}
{% macro month_start(month) %}
    {{ return('0001-01-01' if month == no_month() else month ~ '-01') }}
{% endmacro %}

{% macro month_after(month) %}
    {%- if month == no_month() -%}
        {{ return('9999-01') }}
    {%- endif -%}
    {%- set count = month[:4] | int * 12 + month[5:] | int -%}
    {{ return('%04d-%02d' | format(count // 12, count % 12 + 1)) }}
{% endmacro %}
