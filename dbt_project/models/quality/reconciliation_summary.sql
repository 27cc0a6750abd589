with
differences as (
    select * from {{ ref('reconciliation') }}
    where check_name = 'minutes_against_hours'
),

grid_hours as (
    select * from {{ ref('int_grid_hours') }}
),

minute_hours as (
    select
        replace(dataset, '_1m', '') as family,
        symbol,
        hour_ts
    from grid_hours
    where dataset like '%klines_1m'
),

archive_hours as (
    select
        replace(dataset, '_1h', '') as family,
        symbol,
        hour_ts
    from grid_hours
    where dataset like '%klines_1h'
),

compared as (
    select
        minute_hours.family,
        minute_hours.symbol,
        substr(cast(cast(minute_hours.hour_ts as date) as string), 1, 7) as month,
        count(*) as n_hours_compared
    from minute_hours
    inner join archive_hours
        on
            minute_hours.family = archive_hours.family
            and minute_hours.symbol = archive_hours.symbol
            and minute_hours.hour_ts = archive_hours.hour_ts
    group by
        minute_hours.family,
        minute_hours.symbol,
        substr(cast(cast(minute_hours.hour_ts as date) as string), 1, 7)
),

differing as (
    select
        replace(dataset_a, '_1m', '') as family,
        symbol,
        substr(cast(cast(ts as date) as string), 1, 7) as month,
        count(distinct case when cause not in ('only_in_a', 'only_in_b') then ts end)
            as n_hours_different,
        count(distinct case when cause = 'only_in_a' then ts end) as n_hours_only_in_minutes,
        count(distinct case when cause = 'only_in_b' then ts end) as n_hours_only_in_hours,
        max(relative_difference) as max_relative_difference
    from differences
    group by
        replace(dataset_a, '_1m', ''),
        symbol,
        substr(cast(cast(ts as date) as string), 1, 7)
),

final as (
    select
        cast(coalesce(compared.family, differing.family) as string) as dataset,
        cast(coalesce(compared.symbol, differing.symbol) as string) as symbol,
        cast(coalesce(compared.month, differing.month) as string) as month,
        cast(coalesce(compared.n_hours_compared, 0) as bigint) as n_hours_compared,
        cast(
            coalesce(compared.n_hours_compared, 0)
            - coalesce(differing.n_hours_different, 0) as bigint
        ) as n_hours_equal,
        cast(coalesce(differing.n_hours_different, 0) as bigint) as n_hours_different,
        cast(coalesce(differing.n_hours_only_in_minutes, 0) as bigint) as n_hours_only_in_minutes,
        cast(coalesce(differing.n_hours_only_in_hours, 0) as bigint) as n_hours_only_in_hours,
        cast(differing.max_relative_difference as double) as max_relative_difference
    from compared
    full outer join differing
        on
            compared.family = differing.family
            and compared.symbol = differing.symbol
            and compared.month = differing.month
)

select * from final
