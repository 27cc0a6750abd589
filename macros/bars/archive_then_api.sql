{% macro archive_then_api(dataset, columns) -%}
with
archive as (
    select * from {{ ref('stg_vision__' ~ dataset) }}
),

pulled as (
    select * from {{ ref('stg_api__' ~ dataset) }}
),

-- Named apart from the rows above, so that no engine keeps those in memory to use them twice.
held as (
    select
        symbol,
        month,
        open_time
    from {{ ref('stg_vision__' ~ dataset) }}
),

-- The month is compared so that only months are read in which there is something to compare.
missing as (
    select * from pulled
    where not exists (
        select 1 from held
        where
            held.symbol = pulled.symbol
            and held.month = pulled.month
            and held.open_time = pulled.open_time
    )
),

final as (
    select
        {{ columns | join(',\n        ') }},
        'archive' as source
    from archive
    union all
    select
        {{ columns | join(',\n        ') }},
        'api' as source
    from missing
)

select * from final
{%- endmacro %}
