{{ staged_klines(source('api', 'premium_index_klines_1m'), is_sound_premium(), per_minute=true) }}
