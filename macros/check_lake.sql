{% macro check_lake() %}
    {% if execute and flags.WHICH in ('build', 'run', 'seed', 'test', 'snapshot') %}
        {% set lake = env_var('PERP_LAKE', 'data/lake') %}
        {{ reach_lake(lake) }}
        {{ adapter.dispatch('check_lake')(lake) }}
    {% endif %}
{% endmacro %}

{% macro default__check_lake(lake) %}
    {% set query %}
        select count(*) as n_files from glob('{{ lake | replace("'", "''") }}/_log/*.jsonl')
    {% endset %}
    {% if run_query(query).columns[0].values()[0] == 0 %}
        {{ exceptions.raise_compiler_error(
            "The lake '" ~ lake ~ "' holds no data yet. Fill it first: `make warehouse` for the "
            ~ "sandbox, or `perp ingest archive --symbols BTCUSDT --start 2024-01-01` for exchange "
            ~ "data; or set PERP_LAKE to a lake that you have."
        ) }}
    {% endif %}
{% endmacro %}

{#- Views are made of the lake next, which says what is missing. -#}
{% macro spark__check_lake(lake) %}
{% endmacro %}
