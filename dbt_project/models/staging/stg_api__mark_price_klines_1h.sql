{{ staged_klines(source('api', 'mark_price_klines_1h'), is_sound_price()) }}
