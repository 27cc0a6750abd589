{{ staged_klines(source('vision', 'mark_price_klines_1h'), is_sound_price()) }}
