{{ config(materialized='monthly', partition_by='month') }}

with
minutes as (
    select * from {{ ref('stg_vision__agg_trades_1m') }}
    where {{ in_batch('month') }}
),

final as (
    select
        symbol,
        hour_ts,
        cast(count(*) as int) as n_minutes,
        cast(sum(trade_count) as bigint) as trade_count,
        cast(sum(raw_trade_count) as bigint) as raw_trade_count,
        {{ exact_sum('base_volume') }} as base_volume,
        {{ exact_sum('quote_volume') }} as quote_volume,
        {{ exact_sum('buy_qty') }} as buy_qty,
        {{ exact_sum('sell_qty') }} as sell_qty,
        {{ exact_sum('buy_quote') }} as buy_quote,
        {{ exact_sum('sell_quote') }} as sell_quote,
        cast(sum(buy_count) as bigint) as buy_count,
        cast(sum(sell_count) as bigint) as sell_count,
        -- squares need more room before the point than sums of money
        {{ exact_sum('buy_quote_sq', scale=10) }} as buy_quote_sq,
        {{ exact_sum('sell_quote_sq', scale=10) }} as sell_quote_sq,
        {{ exact_sum('(minute_of_hour + 1) * (buy_quote - sell_quote)') }} as tw_cvd_quote,
        {{ exact_sum('(minute_of_hour + 1) * quote_volume') }} as tw_quote_volume,
        min_by(price_first, minute_ts) filter (where price_first is not null) as price_first,
        max_by(price_last, minute_ts) filter (where price_last is not null) as price_last,
        min(first_transact_time) as first_transact_time,
        max(last_transact_time) as last_transact_time,
        min_by(first_agg_trade_id, minute_ts) as first_agg_trade_id,
        max_by(last_agg_trade_id, minute_ts) as last_agg_trade_id,
        cast(sum(n_bad) as bigint) as n_bad
    from minutes
    group by symbol, hour_ts
)

select * from final
