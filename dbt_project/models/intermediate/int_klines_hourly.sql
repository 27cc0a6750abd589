{{ config(materialized='monthly') }}

with
minutes as (
    select * from {{ ref('int_klines_1m') }}
    where {{ in_batch('month') }}
),

priced as (
    select
        symbol,
        hour_ts,
        open_time,
        minute_of_hour,
        open,
        high,
        low,
        close,
        volume,
        quote_volume,
        trade_count,
        taker_buy_volume,
        taker_buy_quote_volume,
        is_valid,
        is_active,
        source,
        volume * (high + low + close) / 3e0 as typical_value
    from minutes
),

final as (
    select
        symbol,
        hour_ts,
        min(open_time) as first_open_time,
        max(open_time) as last_open_time,
        cast(count(*) as int) as n_rows,
        min_by(open, open_time) filter (where is_valid) as open,
        max(high) filter (where is_valid) as high,
        min(low) filter (where is_valid) as low,
        max_by(close, open_time) filter (where is_valid) as close,
        {{ exact_sum('volume', 'is_valid') }} as volume,
        {{ exact_sum('coalesce(quote_volume, typical_value)', 'is_valid') }} as quote_volume,
        cast(sum(trade_count) filter (where is_valid) as bigint) as trade_count,
        {{ exact_sum('taker_buy_volume', 'is_valid') }} as taker_buy_volume,
        {{ exact_sum('taker_buy_quote_volume', 'is_valid') }} as taker_buy_quote_volume,
        {{ exact_sum('typical_value', 'is_valid') }} as typical_value,
        cast(
            max(case when quote_volume is null then 1 else 0 end) filter (where is_valid) as int
        ) as quote_is_proxy,
        cast(sum(case when is_valid then 1 else 0 end) as int) as n_minutes,
        cast(sum(case when is_active then 1 else 0 end) as int) as n_minutes_active,
        cast(
            sum(case when is_valid and source = 'api' then 1 else 0 end) as int
        ) as n_minutes_from_api,
        max(case when is_valid and minute_of_hour = 30 then open end) as open_at_30,
        max(case when is_valid and minute_of_hour = 29 then close end) as close_at_29,
        min(minute_of_hour) filter (where is_active) as first_active_minute,
        max(minute_of_hour) filter (where is_active) as last_active_minute
    from priced
    group by symbol, hour_ts
)

select * from final
