{#- Five-minute slots whose open interest the archive gives as 0, that is unknown, and the API not
    at all. -#}
with
metrics as (
    select * from {{ ref('int_metrics') }}
),

horizon as (
    select * from {{ ref('int_horizon') }}
),

zeros as (
    select
        metrics.symbol,
        metrics.bucket_ts,
        case
            when
                lag(metrics.bucket_ts) over (
                    partition by metrics.symbol order by metrics.bucket_ts nulls last
                ) = metrics.bucket_ts - interval '5' minute
                then 0
            else 1
        end as is_start
    from metrics
    cross join horizon
    where
        metrics.is_zero_open_interest
        and metrics.open_interest is null
        and metrics.bucket_ts < horizon.horizon_ts
),

numbered as (
    select
        symbol,
        bucket_ts,
        sum(is_start) over (
            partition by symbol
            order by bucket_ts nulls last
            rows between unbounded preceding and current row
        ) as island
    from zeros
),

final as (
    select
        symbol,
        min(bucket_ts) as gap_start,
        max(bucket_ts) + interval '5' minute as gap_end,
        count(*) as n_slots
    from numbered
    group by symbol, island
)

select * from final
