{{ config(materialized='monthly', partition_by='month') }}

with
minutes as (
    select * from {{ ref('int_premium_index_klines_1m') }}
    where {{ in_batch('month') }}
),

final as (
    select
        symbol,
        hour_ts,
        min_by(open, open_time) as premium_open,
        max(high) as premium_high,
        min(low) as premium_low,
        max_by(close, open_time) as premium_close,
        {{ exact_sum('close', scale=20) }} / count(*) as premium_mean,
        cast(count(*) as int) as n_minutes,
        {{ exact_sum('close', scale=20) }} as close_sum,
        {{ exact_sum('(minute_of_hour + 1) * close', scale=20) }} as weighted_close_sum,
        cast(sum(minute_of_hour + 1) as bigint) as weight_sum
    from minutes
    where is_valid
    group by symbol, hour_ts
)

select * from final
