{{ staged_klines(source('vision', 'premium_index_klines_1h'), is_sound_premium()) }}
