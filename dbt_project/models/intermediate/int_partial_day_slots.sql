{{ config(materialized='hourly', partition_by='month', meta={
    'hours_before': 0,
    'time_column': 'slot_ts',
}) }}

with
datasets as (
    select * from {{ ref('datasets') }}
),

hours as (
    select * from {{ ref('int_grid_hours') }}
    where {{ in_reach('hour_ts') }}
),

slots as (
    select * from {{ ref('int_grid_slots') }}
    where
        {{ in_reach_months('month') }}
        and {{ in_reach('slot_ts') }}
),

partial_days as (
    select
        hours.dataset,
        hours.symbol,
        cast(hours.hour_ts as date) as day
    from hours
    inner join datasets on hours.dataset = datasets.dataset
    group by hours.dataset, hours.symbol, cast(hours.hour_ts as date), datasets.slot_minutes
    having sum(hours.n_present) * datasets.slot_minutes < 1440
),

final as (
    select
        slots.dataset,
        slots.symbol,
        slots.slot_ts
    from slots
    inner join partial_days
        on
            slots.dataset = partial_days.dataset
            and slots.symbol = partial_days.symbol
            and cast(slots.slot_ts as date) = partial_days.day
)

select * from final
