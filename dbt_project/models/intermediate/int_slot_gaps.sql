{{ config(materialized='hourly', partition_by='month', meta={
    'hours_before': 0,
    'time_column': 'gap_start',
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
        cast(hours.hour_ts as date) as day,
        datasets.slot_minutes
    from hours
    inner join datasets on hours.dataset = datasets.dataset
    group by hours.dataset, hours.symbol, cast(hours.hour_ts as date), datasets.slot_minutes
    having sum(hours.n_present) * datasets.slot_minutes < 1440
),

partial_slots as (
    select
        partial_days.dataset,
        partial_days.symbol,
        partial_days.day,
        slots.slot_ts,
        slots.slot_ts + partial_days.slot_minutes * interval '1' minute as slot_end
    from slots
    inner join partial_days
        on
            slots.dataset = partial_days.dataset
            and slots.symbol = partial_days.symbol
            and cast(slots.slot_ts as date) = partial_days.day
),

before_slots as (
    select
        dataset,
        symbol,
        day,
        cast(day as timestamp) as gap_start,
        min(slot_ts) as gap_end
    from partial_slots
    group by dataset, symbol, day
),

after_slots as (
    select
        dataset,
        symbol,
        day,
        slot_end as gap_start,
        coalesce(
            lead(slot_ts) over (partition by dataset, symbol, day order by slot_ts nulls last),
            cast(day as timestamp) + interval '1' day
        ) as gap_end
    from partial_slots
),

united as (
    select * from before_slots
    union all
    select * from after_slots
),

-- Nothing is missing between two slots that follow each other.
final as (
    select * from united
    where gap_start < gap_end
)

select * from final
