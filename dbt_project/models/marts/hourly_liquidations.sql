{{ liquidation_base(
    bars=ref('int_liquidation_bars_1h'),
    quotes='select symbol, hour_ts as bar_ts, quote_volume from ' ~ ref('hourly_bars'),
    minutes=60
) }}
