{{ config(materialized='ephemeral') }}

{{ liquidation_factors(
    bars=ref('int_liquidation_bars_15m'), minutes=var('liq_bar_minutes')
) }}
