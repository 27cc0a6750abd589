{{ liquidation_bars(60) }}
