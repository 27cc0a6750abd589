{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 0}) }}

with
slots as (
    select * from {{ ref('int_grid_slots') }}
    where
        {{ in_reach_months('month') }}
        and {{ in_reach('slot_ts') }}
),

final as (
    select
        dataset,
        symbol,
        date_trunc('hour', slot_ts) as hour_ts,
        cast(count(*) as int) as n_present,
        cast(sum(case when source = 'api' then 1 else 0 end) as int) as n_from_api
    from slots
    group by dataset, symbol, date_trunc('hour', slot_ts)
)

select * from final
