{{ liquidation_bars(var('liq_bar_minutes')) }}
