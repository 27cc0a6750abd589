-- A source whose events and their repetitions are not the rows that the lake holds.
{%- set sources = {
    'archive': 'stg_vision__liquidation_snapshot',
    'tardis': 'stg_tardis__liquidations',
    'stream': 'stg_stream__liquidations',
    'import': 'stg_import__liquidations',
} %}

with
events as (
    select
        source,
        sum(n_copies) as n_rows
    from {{ ref('int_liquidations') }}
    group by source
),

{% for source, staging in sources.items() %}
{{ source }}_rows as (
    select count(*) as n_rows from {{ ref(staging) }}
),

{% endfor %}
landed as (
    {% for source in sources %}
    select
        '{{ source }}' as source,
        n_rows
    from {{ source }}_rows
    {{ 'union all' if not loop.last }}
    {% endfor %}
)

select
    landed.source,
    landed.n_rows,
    events.n_rows as n_rows_of_events
from landed
left join events on landed.source = events.source
where landed.n_rows <> coalesce(events.n_rows, 0)
