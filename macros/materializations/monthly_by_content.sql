{#-
    Builds a model month by month, like `monthly`, from other tables of the warehouse: a month is built again
    when the rows of the tables in `meta.content_of` have changed there, or when the SQL has. What has landed
    would not say so: these tables change with every var and model above them, and labels are still to come
    when their month has ended.
-#}
{% materialization monthly_by_content, default %}
    {%- set target = this.incorporate(type='table') -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- set code = local_md5(sql) -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- set states = {} -%}
    {%- for name in config.get('meta')['content_of'] -%}
        {%- for row in content_of_months(ref(name)) -%}
            {%- set before = states.get(row['month'], 'code ' ~ code) -%}
            {%- do states.update({row['month']: before ~ '; ' ~ name ~ ' ' ~ row['state']}) -%}
        {%- endfor -%}
    {%- endfor -%}

    {{ build_months(target, existing, states) }}

    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{#- Fingerprints of an hourly table. Numbers are looked at in single precision: sums of several threads differ
    in the last digits from build to build, which is no reason to build anything again. -#}
{% macro content_of_months(relation) %}
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
            substr(cast(date_trunc('month', hour_ts) as string), 1, 7) as month,
            count(*) || ' rows ' || bit_xor({{ hash_of(values) }}) as state
        from {{ relation }}
        group by date_trunc('month', hour_ts)
        order by month
    {%- endset -%}
    {{ return(run_query(query).rows) }}
{% endmacro %}
