{{ staged_klines(source('vision', 'klines_1h'), is_sound_bar(), traded=true) }}
