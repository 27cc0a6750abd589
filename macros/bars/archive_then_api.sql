{% macro archive_then_api(dataset, columns) -%}
with
archive as (
    select * from {{ ref('stg_vision__' ~ dataset) }}
),

pulled as (
    select * from {{ ref('stg_api__' ~ dataset) }}
),

-- Most months have no row from the API: then nothing of the archive is read for the comparison.
pulled_months as (
    select distinct
        symbol,
        month
    from pulled
),

-- Named apart from the rows above, so that no engine keeps those in memory to use them twice.
held as (
    select
        archived.symbol,
        archived.month,
        archived.open_time
    from {{ ref('stg_vision__' ~ dataset) }} as archived
    inner join pulled_months
        on archived.symbol = pulled_months.symbol
        and archived.month = pulled_months.month
),

-- The month is compared so that only months are read that are asked for. A join, as engines take what is asked of the
-- left side to hold for the right side too; of `not exists` they do not, and would open every month.
missing as (
    select pulled.*
    from pulled
    left join held
        on pulled.symbol = held.symbol
        and pulled.month = held.month
        and pulled.open_time = held.open_time
    where held.symbol is null
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
