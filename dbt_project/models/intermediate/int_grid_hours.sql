{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 0}) }}

with
klines as (
    select * from {{ ref('int_klines_hourly') }}
    where {{ in_reach('hour_ts') }}
),

prices as (
    select * from {{ ref('int_price_minutes_hourly') }}
    where {{ in_reach('hour_ts') }}
),

slots as (
    select * from {{ ref('int_grid_slots') }}
    where
        {{ in_reach_months('month') }}
        and {{ in_reach('slot_ts') }}
),

-- Minutes have been counted where they were summed up.
final as (
    select
        'klines_1m' as dataset,
        symbol,
        hour_ts,
        n_rows as n_present,
        n_rows_from_api as n_from_api
    from klines
    union all
    select
        concat(dataset, '_1m') as dataset,
        symbol,
        hour_ts,
        n_rows as n_present,
        n_from_api
    from prices
    union all
    select
        dataset,
        symbol,
        date_trunc('hour', slot_ts) as hour_ts,
        cast(count(*) as int) as n_present,
        cast(sum(case when source = 'api' then 1 else 0 end) as int) as n_from_api
    from slots
    where dataset not like '%klines_1m'
    group by dataset, symbol, date_trunc('hour', slot_ts)
)

select * from final
