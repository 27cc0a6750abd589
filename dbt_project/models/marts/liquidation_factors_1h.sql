{{ liquidation_factors(bars=ref('int_liquidation_bars_1h'), minutes=60) }}
