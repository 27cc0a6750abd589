{{ staged_klines(
    source('vision', 'premium_index_klines_1m'),
    is_sound_premium(),
    per_minute=true
) }}
