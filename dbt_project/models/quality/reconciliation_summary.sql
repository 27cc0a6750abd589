{{ config(materialized='monthly', partition_by='month') }}

with
differences as (
    select * from {{ ref('reconciliation') }}
    where
        check_name = 'minutes_against_hours'
        and {{ in_batch_hours('ts') }}
),

tick_pairs as (
    select * from {{ ref('int_tick_pairs') }}
    where {{ in_batch_hours('ts') }}
),

api_pairs as (
    select * from {{ ref('int_api_pairs') }}
    where {{ in_batch_hours('ts') }}
),

other_differences as (
    select * from {{ ref('reconciliation') }}
    where
        check_name not in ('minutes_against_hours', 'archive_revision')
        and {{ in_batch_hours('ts') }}
),

grid_hours as (
    select * from {{ ref('int_grid_hours') }}
    where {{ in_batch_hours('hour_ts') }}
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
        count(*) as n_hours_compared
    from minute_hours
    inner join archive_hours
        on
            minute_hours.family = archive_hours.family
            and minute_hours.symbol = archive_hours.symbol
            and minute_hours.hour_ts = archive_hours.hour_ts
    group by minute_hours.family, minute_hours.symbol
),

differing as (
    select
        replace(dataset_a, '_1m', '') as family,
        symbol,
        count(distinct case when cause not in ('only_in_a', 'only_in_b') then ts end)
            as n_hours_different,
        count(distinct case when cause = 'only_in_a' then ts end) as n_hours_only_in_a,
        count(distinct case when cause = 'only_in_b' then ts end) as n_hours_only_in_b,
        max(relative_difference) as max_relative_difference
    from differences
    group by replace(dataset_a, '_1m', ''), symbol
),

bar_months as (
    select
        'minutes_against_hours' as check_name,
        coalesce(compared.family, differing.family) as dataset,
        coalesce(compared.symbol, differing.symbol) as symbol,
        coalesce(compared.n_hours_compared, 0) as n_hours_compared,
        coalesce(differing.n_hours_different, 0) as n_hours_different,
        coalesce(differing.n_hours_only_in_a, 0) as n_hours_only_in_a,
        coalesce(differing.n_hours_only_in_b, 0) as n_hours_only_in_b,
        differing.max_relative_difference
    from compared
    full outer join differing
        on
            compared.family = differing.family
            and compared.symbol = differing.symbol
),

-- Hours that both sources have, silent ones included.
tick_hours as (
    select
        check_name,
        dataset_a,
        symbol,
        sum(
            case when coalesce(cause, '') in ('only_in_a', 'only_in_b') then 0 else 1 end
        ) as n_hours_compared,
        sum(
            case
                when is_different and cause not in ('only_in_a', 'only_in_b') then 1 else 0
            end
        ) as n_hours_different,
        sum(case when cause = 'only_in_a' then 1 else 0 end) as n_hours_only_in_a,
        sum(case when cause = 'only_in_b' then 1 else 0 end) as n_hours_only_in_b
    from tick_pairs
    group by check_name, dataset_a, symbol
),

largest_differences as (
    select
        check_name,
        dataset_a,
        symbol,
        max(relative_difference) as max_relative_difference
    from other_differences
    group by check_name, dataset_a, symbol
),

tick_months as (
    select
        tick_hours.check_name,
        tick_hours.dataset_a as dataset,
        tick_hours.symbol,
        tick_hours.n_hours_compared,
        tick_hours.n_hours_different,
        tick_hours.n_hours_only_in_a,
        tick_hours.n_hours_only_in_b,
        largest_differences.max_relative_difference
    from tick_hours
    left join largest_differences
        on
            tick_hours.check_name = largest_differences.check_name
            and tick_hours.dataset_a = largest_differences.dataset_a
            and tick_hours.symbol = largest_differences.symbol
),

-- Five-minute moments are compared one by one and counted by the hour.
api_hours as (
    select
        check_name,
        dataset_a,
        symbol,
        count(distinct date_trunc('hour', ts)) as n_hours_compared,
        count(distinct case when is_different then date_trunc('hour', ts) end)
            as n_hours_different
    from api_pairs
    group by check_name, dataset_a, symbol
),

api_months as (
    select
        api_hours.check_name,
        api_hours.dataset_a as dataset,
        api_hours.symbol,
        api_hours.n_hours_compared,
        api_hours.n_hours_different,
        0 as n_hours_only_in_a,
        0 as n_hours_only_in_b,
        largest_differences.max_relative_difference
    from api_hours
    left join largest_differences
        on
            api_hours.check_name = largest_differences.check_name
            and api_hours.dataset_a = largest_differences.dataset_a
            and api_hours.symbol = largest_differences.symbol
),

united as (
    select * from bar_months
    union all
    select * from tick_months
    union all
    select * from api_months
),

final as (
    select
        cast(check_name as string) as check_name,
        cast(dataset as string) as dataset,
        cast(symbol as string) as symbol,
        cast(n_hours_compared as bigint) as n_hours_compared,
        cast(n_hours_compared - n_hours_different as bigint) as n_hours_equal,
        cast(n_hours_different as bigint) as n_hours_different,
        cast(n_hours_only_in_a as bigint) as n_hours_only_in_a,
        cast(n_hours_only_in_b as bigint) as n_hours_only_in_b,
        cast(max_relative_difference as double) as max_relative_difference
    from united
)

select * from final
