-- Months that coverage calls whole are whole, months without metrics are absent. The first day of
-- each is left out: it looks back at the month before.
with
coverage as (
    select * from {{ ref('coverage') }}
    where dataset = 'metrics'
),

spine as (
    select * from {{ ref('int_hourly_spine') }}
),

complete as (
    select * from {{ ref('final_dataset_metrics_complete') }}
),

rows_of_months as (
    select
        coverage.symbol,
        coverage.month,
        coverage.n_present,
        coverage.n_missing,
        spine.hour_ts,
        complete.symbol is not null as is_in
    from coverage
    inner join spine
        on
            coverage.symbol = spine.symbol
            and coverage.month = substr(cast(cast(spine.hour_ts as date) as string), 1, 7)
    left join complete
        on
            spine.symbol = complete.symbol
            and spine.hour_ts = complete.hour_ts
    where
        spine.hour_ts
        >= cast(coverage.month || '-01' as timestamp)
        + interval '{{ var('metrics_complete_hours') }}' hour
)

select * from rows_of_months
where
    (n_missing = 0 and not is_in)
    or (n_present = 0 and is_in)
