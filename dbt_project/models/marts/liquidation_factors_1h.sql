{{ config(
    materialized='hourly',
    partition_by='month',
    meta={'hours_before': var('mining_windows') | max}
) }}

{{ liquidation_factors(bars=ref('int_liquidation_bars_1h'), minutes=60) }}
