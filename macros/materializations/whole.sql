{#- A table that is made anew as a whole when anything that it is made from has changed.
    `meta.months_after`: how many months ahead a row looks, if it does. -#}
{% materialization whole, default %}
    {%- set target = this.incorporate(type='table') -%}
    {%- set existing = load_cached_relation(this) -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}

    {%- set inputs = made_from(model, sql) -%}
    {%- set states = states_of_months(
        model.name, inputs, is_cumulative=true, months_after=config.get('meta', {}).get('months_after', 0)
    ) -%}
    {%- set stale = stale_months(states, existing) -%}
    {%- if stale -%}
        {{ drop_relation_if_exists(existing) }}
        {%- call statement('main') -%}
            {{ create_table_as(False, target, sql) }}
        {%- endcall -%}
        {{ record_states(model.name, stale) }}
    {%- endif -%}
    {{ finish_table(target) }}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}
