with
slots as (
    select * from {{ ref('int_grid_slots') }}
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
