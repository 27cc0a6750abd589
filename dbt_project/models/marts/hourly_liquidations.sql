{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 168}) }}

{{ liquidation_base(
    bars=ref('int_liquidation_bars_1h'),
    quotes='select symbol, hour_ts as bar_ts, quote_volume from ' ~ ref('hourly_bars'),
    quotes_time='hour_ts',
    minutes=60
) }}
