{{ config(materialized='ephemeral') }}

{%- set measured = [
    'returns', 'volumes', 'closes', 'range_changes', 'log_ranges', 'relative_ranges',
    'pair_closes', 'pair_volumes', 'earlier_closes', 'earlier_volumes',
    'bursts', 'burst_returns', 'burst_closes',
] %}

with
vectors as (
    select * from {{ ref('int_minute_vectors_hourly') }}
),

-- Pairs of adjacent minutes, and among them those whose earlier volume allows a ratio.
located as (
    select
        *,
        {% for minute in (5, 10, 50, 55) %}
        {{ vector_size(vector_filter('minutes', 'm', 'm < ' ~ minute)) }} as n_before_{{ minute }},
        {% endfor %}
        {{ vector_filter(
            'positions',
            'i',
            'case when i = 1 then false else ' ~ vector_item('minutes', 'i') ~ ' = '
            ~ vector_item('minutes', 'i - 1') ~ ' + 1 end'
        ) }} as pair_positions
    from vectors
),

stepped as (
    select
        *,
        {{ vector_map('pair_positions', 'i', 'i - 1') }} as earlier_positions,
        {{ vector_filter('pair_positions', 'i', vector_item('volumes', 'i - 1') ~ ' > 0') }}
            as burst_positions,
        {{ vector_map('returns', 'r', 'r * r') }} as squared_returns,
        {{ vector_map(
            'positions',
            'i',
            '(' ~ vector_item('highs', 'i') ~ ' - ' ~ vector_item('lows', 'i') ~ ') / '
            ~ vector_item('lows', 'i')
        ) }} as range_changes
    from located
),

derived as (
    select
        symbol,
        hour_ts,
        n_minutes,
        returns,
        volumes,
        quote_volumes,
        closes,
        positions,
        {{ vector_sum('volumes') }} as volume,
        {{ vector_sum('quote_volumes') }} as quote_volume,
        {{ vector_size(vector_filter('quote_volumes', 'q', 'q > 0')) }} as n_quoted_minutes,
        {{ vector_sum(vector_slice('volumes', '1', 'n_before_5')) }} as volume_first_5,
        {{ vector_sum(vector_slice('volumes', '1', 'n_before_10')) }} as volume_first_10,
        {{ vector_sum(vector_slice('volumes', 'n_before_55 + 1', 'n_minutes')) }} as volume_last_5,
        {{ vector_sum(vector_slice('squared_returns', 'n_before_50 + 1', 'n_minutes')) }}
            as tail_variance,
        range_changes,
        {{ vector_map('range_changes', 'x', log1p('x')) }} as log_ranges,
        {{ vector_map(
            'positions',
            'i',
            '(' ~ vector_item('highs', 'i') ~ ' - ' ~ vector_item('lows', 'i') ~ ') / '
            ~ vector_item('closes', 'i')
        ) }} as relative_ranges,
        {{ vector_pick_rising('closes', 'pair_positions') }} as pair_closes,
        {{ vector_pick_rising('volumes', 'pair_positions') }} as pair_volumes,
        {{ vector_pick_rising('closes', 'earlier_positions') }} as earlier_closes,
        {{ vector_pick_rising('volumes', 'earlier_positions') }} as earlier_volumes,
        {{ vector_map(
            'burst_positions',
            'i',
            'least(' ~ vector_item('volumes', 'i') ~ ' / ' ~ vector_item('volumes', 'i - 1')
            ~ ' - 1e0, 10e0)'
        ) }} as bursts,
        {{ vector_pick_rising('returns', 'burst_positions') }} as burst_returns,
        {{ vector_pick_rising('closes', 'burst_positions') }} as burst_closes
    from stepped
),

averaged as (
    select
        {% for x in measured %}
        {{ vector_mean(x) }} as mean_{{ x }},
        {% endfor %}
        *
    from derived
),

centred as (
    select
        {% for x in measured %}
        {{ vector_map(x, 'x', 'x - mean_' ~ x) }} as d_{{ x }},
        {% endfor %}
        *
    from averaged
),

squared as (
    select
        *,
        {{ vector_map('d_returns', 'd', 'd * d') }} as d2_returns,
        {{ vector_map('d_volumes', 'd', 'd * d') }} as d2_volumes
    from centred
),

moments as (
    select
        *,
        {% for x in ('returns', 'volumes') %}
        {{ vector_dot('d_' ~ x, 'd_' ~ x) }} / n_minutes as m2_{{ x }},
        {{ vector_dot('d_' ~ x, 'd2_' ~ x) }} / n_minutes as m3_{{ x }},
        {{ vector_dot('d2_' ~ x, 'd2_' ~ x) }} / n_minutes as m4_{{ x }},
        {% endfor %}
        {{ vector_sum(vector_map('returns', 'r', 'case when r > 0 then r * r else 0e0 end')) }}
            as up_variance,
        {{ vector_sum(vector_map('returns', 'r', 'case when r < 0 then r * r else 0e0 end')) }}
            as down_variance
    from squared
),

final as (
    select
        symbol,
        hour_ts,
        n_quoted_minutes,
        volume,
        volume_first_5,
        volume_last_5,

        -- volatility and volume rhythm
        mean_volumes as vol_1m_mean,
        {{ dispersion('d_volumes') }} as vol_1m_std,
        {{ dispersion('d_range_changes') }} as range_ratio_1m_std,
        {{ dispersion('d_log_ranges') }} as log_range_1m_std,
        1e0 + {{ vector_max('range_changes') }} as min_range_ratio_max,
        sqrt(up_variance) as up_vol_l2,
        sqrt(down_variance) as down_vol_l2,
        {{ safe_div('up_variance', 'up_variance + down_variance') }} as up_var_share,
        {{ dispersion('d_returns') }} * sqrt(60e0) as rv_std_sqrt60,
        sqrt(up_variance + down_variance) as rv_l2,
        {{ safe_div(
            dispersion('d_returns') ~ ' * sqrt(60e0)', 'quote_volume / n_minutes / 1e6'
        ) }} as rv_per_vol,

        -- shape
        {{ skew('m2_returns', 'm3_returns', 'n_minutes') }} as shape_skew,
        {{ kurt('m2_returns', 'm4_returns', 'n_minutes') }} as shape_kurt,
        {{ skew_ratio('m2_returns', 'm3_returns', 'm4_returns') }} as shape_skratio,
        {{ skew('m2_volumes', 'm3_volumes', 'n_minutes') }} as shape_skewvol,
        {{ kurt('m2_volumes', 'm4_volumes', 'n_minutes') }} as shape_kurtvol,
        {{ skew_ratio('m2_volumes', 'm3_volumes', 'm4_volumes') }} as shape_skratiovol,

        -- price and volume
        {{ correlation('d_returns', 'd_volumes') }} as corr_prv,
        {{ correlation('d_burst_returns', 'd_bursts') }} as corr_prvr,
        {{ correlation('d_closes', 'd_volumes') }} as corr_pv,
        {{ correlation('d_pair_closes', 'd_earlier_volumes') }} as corr_pvd,
        {{ correlation('d_earlier_closes', 'd_pair_volumes') }} as corr_pvl,
        {{ correlation('d_burst_closes', 'd_bursts') }} as corr_pvr,

        -- liquidity
        {{ safe_div('volume_last_5', 'volume') }} as liq_last_5min_r,
        {{ safe_div('volume_first_5 + volume_last_5', 'volume') }} as liq_funding_impact,
        {{ safe_div('volume_first_10', 'volume') }} as liq_top_of_hour_ratio,
        {{ vector_sum(vector_map(
            'positions',
            'i',
            'case when ' ~ vector_item('quote_volumes', 'i') ~ ' > 0 then 1e6 * '
            ~ vector_item('relative_ranges', 'i') ~ ' / ' ~ vector_item('quote_volumes', 'i')
            ~ ' else 0e0 end'
        )) }} / nullif(n_quoted_minutes, 0) as liq_range_vol_ratio,
        {{ dispersion('d_relative_ranges') }} as liq_spread_std,
        {{ safe_div('tail_variance', 'up_variance + down_variance') }} as liq_tail_var_share
    from moments
)

select * from final
