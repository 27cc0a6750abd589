{{ staged_klines(source('api', 'index_price_klines_1h'), is_sound_price()) }}
