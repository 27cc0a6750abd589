with
source as (
    select * from {{ source('vision', 'agg_trades_1m') }}
),

final as (
    select
        cast(symbol as string) as symbol,
        cast(month as string) as month,
        cast(minute_ts as timestamp) as minute_ts,
        date_trunc('hour', cast(minute_ts as timestamp)) as hour_ts,
        cast(extract(minute from minute_ts) as int) as minute_of_hour,
        cast(trade_count as bigint) as trade_count,
        cast(raw_trade_count as bigint) as raw_trade_count,
        cast(base_volume as double) as base_volume,
        cast(quote_volume as double) as quote_volume,
        cast(buy_qty as double) as buy_qty,
        cast(sell_qty as double) as sell_qty,
        cast(buy_quote as double) as buy_quote,
        cast(sell_quote as double) as sell_quote,
        cast(buy_count as bigint) as buy_count,
        cast(sell_count as bigint) as sell_count,
        cast(buy_quote_sq as double) as buy_quote_sq,
        cast(sell_quote_sq as double) as sell_quote_sq,
        cast(buy_max_quote as double) as buy_max_quote,
        cast(sell_max_quote as double) as sell_max_quote,
        cast(price_first as double) as price_first,
        cast(price_last as double) as price_last,
        cast(price_high as double) as price_high,
        cast(price_low as double) as price_low,
        cast(first_transact_time as timestamp) as first_transact_time,
        cast(last_transact_time as timestamp) as last_transact_time,
        cast(first_agg_trade_id as bigint) as first_agg_trade_id,
        cast(last_agg_trade_id as bigint) as last_agg_trade_id,
        cast(n_bad as bigint) as n_bad,
        cast(n_duplicates as bigint) as n_duplicates,
        cast(n_out_of_order as bigint) as n_out_of_order
    from source
)

select * from final
