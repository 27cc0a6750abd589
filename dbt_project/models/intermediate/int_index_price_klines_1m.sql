{{ config(materialized='view') }}

{{ archive_then_api('index_price_klines_1m', [
    'symbol',
    'month',
    'open_time',
    'hour_ts',
    'minute_of_hour',
    'open',
    'high',
    'low',
    'close',
    'close_time',
    'is_valid',
]) }}
