{{ staged_klines(source('api', 'premium_index_klines_1h'), is_sound_premium()) }}
