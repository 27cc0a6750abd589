{{ config(materialized='ephemeral') }}

{{ liquidation_base(
    bars=ref('int_liquidation_bars_15m'),
    quotes='select symbol, bar_ts, quote_volume from ' ~ ref('int_quote_volume_15m'),
    quotes_time='bar_ts',
    minutes=var('liq_bar_minutes')
) }}
