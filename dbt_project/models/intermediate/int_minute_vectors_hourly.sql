{{ config(materialized='ephemeral') }}

with
minutes as (
    select
        symbol,
        hour_ts,
        minute_of_hour,
        open,
        high,
        low,
        close,
        volume,
        coalesce(quote_volume, volume * (high + low + close) / 3e0) as quote_volume
    from {{ ref('int_klines_1m') }}
    where is_valid and {{ in_batch('month') }}
),

hours as (
    select
        symbol,
        hour_ts,
        {{ vector_of('minute_of_hour') }} as minute_labels,
        min_by(open, minute_of_hour) as first_open,
        {{ pct('volume', 0.8) }} as volume_p80,
        {{ pct('quote_volume', 0.8) }} as quote_volume_p80,
        {{ vector_of('high') }} as high,
        {{ vector_of('low') }} as low,
        {{ vector_of('close') }} as close,
        {{ vector_of('volume') }} as volume,
        {{ vector_of('quote_volume') }} as quote_volume
    from minutes
    group by symbol, hour_ts
    -- fewer valid minutes say too little about an hour
    having count(*) >= 45
),

ordered as (
    select
        symbol,
        hour_ts,
        first_open,
        volume_p80,
        quote_volume_p80,
        {{ vector_size('minute_labels') }} as n_minutes,
        {{ vector_positions('minute_labels') }} as positions,
        {{ vector_in_order('minute_labels', 'minute_labels') }} as minutes,
        {{ vector_in_order('high', 'minute_labels') }} as highs,
        {{ vector_in_order('low', 'minute_labels') }} as lows,
        {{ vector_in_order('close', 'minute_labels') }} as closes,
        {{ vector_in_order('volume', 'minute_labels') }} as volumes,
        {{ vector_in_order('quote_volume', 'minute_labels') }} as quote_volumes
    from hours
),

stepped as (
    select
        *,
        {{ vector_concat(
            vector_literal('first_open'), vector_slice('closes', '1', 'n_minutes - 1')
        ) }} as previous_closes
    from ordered
),

changed as (
    select
        *,
        {{ vector_map(
            'positions',
            'i',
            '(' ~ vector_item('closes', 'i') ~ ' - ' ~ vector_item('previous_closes', 'i') ~ ') / '
            ~ vector_item('previous_closes', 'i')
        ) }} as changes
    from stepped
),

final as (
    select
        symbol,
        hour_ts,
        n_minutes,
        first_open,
        volume_p80,
        quote_volume_p80,
        positions,
        minutes,
        highs,
        lows,
        closes,
        volumes,
        quote_volumes,
        {{ vector_map('changes', 'x', log1p('x')) }} as returns
    from changed
)

select * from final
