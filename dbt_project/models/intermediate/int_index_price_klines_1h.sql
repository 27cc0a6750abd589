{{ config(materialized='view') }}

{{ archive_then_api('index_price_klines_1h', [
    'symbol',
    'month',
    'open_time',
    'hour_ts',
    'open',
    'high',
    'low',
    'close',
    'close_time',
    'is_valid',
]) }}
