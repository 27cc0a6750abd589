{{ config(
    materialized='hourly',
    partition_by='month',
    meta={'hours_before': 0, 'time_column': 'day_start'},
) }}

with
datasets as (
    select * from {{ ref('datasets') }}
),

records as (
    select * from {{ ref('stg_lake__landing_log') }}
    where is_current
),

partitions as (
    select * from records
    where source = 'vision'
),

files as (
    select * from {{ ref('stg_lake__landing_files') }}
    where
        source = 'vision'
        and is_current
),

file_days as (
    select * from {{ ref('int_file_days') }}
),

grid_hours as (
    select * from {{ ref('int_grid_hours') }}
    where {{ in_reach('hour_ts') }}
),

horizon as (
    select * from {{ ref('int_horizon') }}
),

day_offsets (day_offset) as (
    select * from range(0, {{ var('max_segment_hours') // 24 }})
),

domains as (
    select
        symbol,
        min(cast(month || '-01' as date)) as domain_start
    from records
    where
        source in ('vision', 'api')
        and symbol <> '_market'
    group by symbol
),

days as (
    select
        datasets.dataset,
        datasets.slot,
        datasets.slot_minutes,
        domains.symbol,
        domains.domain_start + day_offsets.day_offset * interval '1' day as day_start,
        horizon.horizon_ts
    from domains
    cross join horizon
    cross join datasets
    inner join day_offsets
        on
            horizon.horizon_ts
            > domains.domain_start + day_offsets.day_offset * interval '1' day
    where {{ in_reach("domains.domain_start + day_offsets.day_offset * interval '1' day") }}
),

bounded as (
    select
        dataset,
        slot,
        slot_minutes,
        symbol,
        cast(day_start as date) as day,
        cast(day_start as timestamp) as day_start,
        least(cast(day_start as timestamp) + interval '1' day, horizon_ts) as day_end
    from days
),

present as (
    select
        grid_hours.dataset,
        grid_hours.symbol,
        cast(grid_hours.hour_ts as date) as day,
        sum(grid_hours.n_present) as n_present,
        sum(grid_hours.n_from_api) as n_from_api
    from grid_hours
    cross join horizon
    where grid_hours.hour_ts < horizon.horizon_ts
    group by grid_hours.dataset, grid_hours.symbol, cast(grid_hours.hour_ts as date)
),

month_files as (
    select
        dataset,
        symbol,
        month,
        max(case when outcome = 'landed' then 1 else 0 end) = 1 as has_landed,
        max(case when outcome in ('quarantined', 'failed') then outcome end) as problem
    from files
    where is_monthly
    group by dataset, symbol, month
),

day_files as (
    select
        dataset,
        symbol,
        day,
        max(case when outcome = 'landed' then 1 else 0 end) = 1 as has_landed,
        max(case when outcome in ('quarantined', 'failed') then outcome end) as problem
    from files
    where not is_monthly
    group by dataset, symbol, day
),

final as (
    select
        bounded.dataset,
        bounded.slot,
        bounded.slot_minutes,
        bounded.symbol,
        bounded.day,
        bounded.day_start,
        bounded.day_end,
        file_days.day is not null as has_file,
        cast(
            {{ seconds_between('bounded.day_start', 'bounded.day_end') }}
            / (60e0 * bounded.slot_minutes) as bigint
        ) as n_slots,
        coalesce(present.n_present, 0) as n_present,
        coalesce(present.n_from_api, 0) as n_from_api,
        -- why the archive does not have a slot of this day, if it does not
        case
            when partitions.month is null then 'not_ingested'
            when bounded.day < partitions.first_day then 'not_ingested'
            when bounded.day > partitions.last_day then 'not_ingested'
            when day_files.has_landed then 'absent_upstream'
            when day_files.problem is not null then day_files.problem
            when month_files.has_landed then 'absent_upstream'
            when month_files.problem is not null then month_files.problem
            else 'absent_upstream'
        end as reason
    from bounded
    left join partitions
        on
            bounded.dataset = partitions.dataset
            and bounded.symbol = partitions.symbol
            and substr(cast(bounded.day as string), 1, 7) = partitions.month
    left join month_files
        on
            bounded.dataset = month_files.dataset
            and bounded.symbol = month_files.symbol
            and substr(cast(bounded.day as string), 1, 7) = month_files.month
    left join day_files
        on
            bounded.dataset = day_files.dataset
            and bounded.symbol = day_files.symbol
            and bounded.day = day_files.day
    left join file_days
        on
            bounded.dataset = file_days.dataset
            and bounded.symbol = file_days.symbol
            and bounded.day = file_days.day
    left join present
        on
            bounded.dataset = present.dataset
            and bounded.symbol = present.symbol
            and bounded.day = present.day
)

select * from final
