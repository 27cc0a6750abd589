{{ staged_klines(source('vision', 'index_price_klines_1h'), is_sound_price()) }}
