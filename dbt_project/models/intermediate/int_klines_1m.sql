{{ config(materialized='view') }}

{{ archive_then_api('klines_1m', [
    'symbol',
    'month',
    'open_time',
    'hour_ts',
    'minute_of_hour',
    'open',
    'high',
    'low',
    'close',
    'volume',
    'quote_volume',
    'trade_count',
    'taker_buy_volume',
    'taker_buy_quote_volume',
    'close_time',
    'is_valid',
    'is_active',
]) }}
