{{ staged_klines(source('vision', 'mark_price_klines_1m'), is_sound_price(), per_minute=true) }}
