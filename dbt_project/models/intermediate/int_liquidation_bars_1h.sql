{{ config(
    materialized='hourly',
    partition_by='month',
    meta={'hours_before': 0, 'time_column': 'bar_ts'}
) }}

{{ liquidation_bars(60) }}
