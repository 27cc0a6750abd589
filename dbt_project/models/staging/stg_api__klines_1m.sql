{{ staged_klines(source('api', 'klines_1m'), is_sound_bar(), per_minute=true, traded=true) }}
