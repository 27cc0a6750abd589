{#- From the log alone: a day that a file covers is covered though nothing traded. -#}
with
datasets as (
    select * from {{ ref('datasets') }}
),

partitions as (
    select * from {{ ref('stg_lake__landing_log') }}
    where
        source = 'vision'
        and is_current
),

files as (
    select * from {{ ref('stg_lake__landing_files') }}
    where
        source = 'vision'
        and is_current
        and outcome = 'landed'
),

day_offsets (day_offset) as (
    select * from range(0, 31)
),

month_starts as (
    select
        dataset,
        symbol,
        month,
        cast(month || '-01' as date) as month_start
    from files
    where is_monthly
),

month_days as (
    select
        month_starts.dataset,
        month_starts.symbol,
        month_starts.month,
        cast(
            month_starts.month_start + day_offsets.day_offset * interval '1' day as date
        ) as day
    from month_starts
    cross join day_offsets
),

uncovered_days as (
    select
        dataset,
        symbol,
        {{ explode('uncovered_days') }} as day
    from partitions
),

days as (
    select
        month_days.dataset,
        month_days.symbol,
        month_days.day
    from month_days
    left join uncovered_days
        on
            month_days.dataset = uncovered_days.dataset
            and month_days.symbol = uncovered_days.symbol
            and month_days.day = cast(uncovered_days.day as date)
    where
        uncovered_days.day is null
        and substr(cast(month_days.day as string), 1, 7) = month_days.month
    union distinct
    select
        dataset,
        symbol,
        day
    from files
    where not is_monthly
),

final as (
    select
        days.dataset,
        days.symbol,
        days.day
    from days
    inner join datasets on days.dataset = datasets.dataset
    where datasets.slot = 'daily file'
)

select * from final
