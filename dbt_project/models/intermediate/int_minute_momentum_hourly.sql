{{ config(materialized='ephemeral') }}

with
vectors as (
    select * from {{ ref('int_minute_vectors_hourly') }}
),

prepared as (
    select
        *,
        {{ vector_sum('quote_volumes') }} as quote_volume,
        cast(ceil(n_minutes / 5e0) as int) as n_leaders,
        {{ vector_size(vector_filter('minutes', 'm', 'm < 45')) }} as n_head,
        -- the leaders and what ties with the last of them: no volume lies between the 80 % quantile
        -- and the smallest one at or above it
        {{ vector_filter(
            'positions', 'i', vector_item('quote_volumes', 'i') ~ ' >= quote_volume_p80'
        ) }} as candidates,
        {{ vector_map(
            'positions',
            'i',
            'case when ' ~ vector_item('quote_volumes', 'i') ~ ' > 0 then 1e6 * '
            ~ vector_item('returns', 'i') ~ ' / ' ~ vector_item('quote_volumes', 'i')
            ~ ' else 0e0 end'
        ) }} as moves_per_money,
        {{ vector_map(
            vector_map('closes', 'price', '(price - first_open) / first_open'), 'x', log1p('x')
        ) }} as log_closes,
        {{ vector_map(
            vector_map('highs', 'price', '(price - first_open) / first_open'), 'x', log1p('x')
        ) }} as log_highs,
        {{ vector_map(
            vector_map('lows', 'price', '(price - first_open) / first_open'), 'x', log1p('x')
        ) }} as log_lows,
        {{ vector_mean('minutes') }} as mean_minutes,
        {{ vector_mean('highs') }} as mean_highs,
        {{ vector_mean('lows') }} as mean_lows
    from vectors
),

ranked as (
    select
        *,
        {{ vector_item('closes', 'n_minutes') }} as last_close,
        case when n_head > 0 then {{ vector_item('closes', 'n_head') }} end as head_close,
        case when n_head > 0 then {{ vector_item('minutes', 'n_head') }} end as last_head_minute,
        {{ vector_item('minutes', 'n_minutes') }} as last_minute,
        {{ vector_min(vector_pick('quote_volumes', 'candidates')) }} as threshold,
        {{ vector_mean('log_closes') }} as mean_log_closes,
        {{ vector_mean('log_highs') }} as mean_log_highs,
        {{ vector_mean('log_lows') }} as mean_log_lows,
        {{ vector_map('minutes', 'x', 'x - mean_minutes') }} as d_minutes,
        {{ vector_map('highs', 'x', 'x - mean_highs') }} as d_highs,
        {{ vector_map('lows', 'x', 'x - mean_lows') }} as d_lows
    from prepared
),

-- Among equal volumes at the threshold the earlier minutes lead.
split as (
    select
        *,
        last_head_minute >= 40 and last_minute >= 55 as has_segment_ends,
        {{ vector_filter('candidates', 'i', vector_item('quote_volumes', 'i') ~ ' > threshold') }}
            as above,
        {{ vector_filter('candidates', 'i', vector_item('quote_volumes', 'i') ~ ' = threshold') }}
            as tied,
        {{ vector_map('log_closes', 'x', 'x - mean_log_closes') }} as d_log_closes,
        {{ vector_map('log_highs', 'x', 'x - mean_log_highs') }} as d_log_highs,
        {{ vector_map('log_lows', 'x', 'x - mean_log_lows') }} as d_log_lows
    from ranked
),

led as (
    select
        *,
        {{ vector_concat(
            'above', vector_slice('tied', '1', 'n_leaders - ' ~ vector_size('above'))
        ) }} as leaders
    from split
),

final as (
    select
        symbol,
        hour_ts,
        n_minutes,
        case
            when has_segment_ends then {{ log_ratio('head_close', 'first_open') }}
        end as seg_head_logret,
        case
            when has_segment_ends then {{ log_ratio('last_close', 'head_close') }}
        end as seg_tail_logret,
        case
            when quote_volume > 0 then {{ vector_sum(vector_pick('returns', 'leaders')) }}
        end as vol_top20_logret_sum,
        {{ safe_div(vector_sum(vector_pick('quote_volumes', 'leaders')), 'quote_volume') }}
            as vol_top20_frac,
        {{ vector_size(vector_filter('volumes', 'v', 'v >= volume_p80')) }}
        / cast(n_minutes as double) as vol_top20_minute_frac,
        case when quote_volume > 0 then {{ vector_sum('moves_per_money') }} end as amihud_signed,
        case
            when quote_volume > 0
                then {{ vector_sum(vector_map('moves_per_money', 'x', 'abs(x)')) }}
        end as amihud_abs,
        60e0 * {{ slope('d_log_closes', 'd_minutes') }} as qrs_beta_close_per_hour,
        60e0 * {{ slope('d_log_highs', 'd_minutes') }} as qrs_beta_high_per_hour,
        60e0 * {{ slope('d_log_lows', 'd_minutes') }} as qrs_beta_low_per_hour,
        {{ r_squared('d_log_closes', 'd_minutes') }} as qrs_r2_close,
        {{ r_squared('d_log_highs', 'd_minutes') }} as qrs_r2_high,
        {{ r_squared('d_log_lows', 'd_minutes') }} as qrs_r2_low,
        case
            when {{ dispersion('d_highs') }} > 0 then {{ slope('d_highs', 'd_lows') }}
        end as qrs_hl_beta,
        {{ r_squared('d_highs', 'd_lows') }} as qrs_hl_r2
    from led
)

select * from final
