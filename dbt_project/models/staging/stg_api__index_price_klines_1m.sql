{{ staged_klines(source('api', 'index_price_klines_1m'), is_sound_price(), per_minute=true) }}
