{{ staged_klines(source('api', 'klines_1h'), is_sound_bar(), traded=true) }}
