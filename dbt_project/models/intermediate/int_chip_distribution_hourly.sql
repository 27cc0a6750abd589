{{ config(materialized='ephemeral') }}

{%- set percents = [60, 70, 80, 90, 95] %}

with
vectors as (
    select * from {{ ref('int_minute_vectors_hourly') }}
),

located as (
    select
        *,
        {{ vector_filter('positions', 'i', vector_item('volumes', 'i') ~ ' > 0') }}
            as traded_positions
    from vectors
),

traded as (
    select
        symbol,
        hour_ts,
        {{ vector_pick_rising('returns', 'traded_positions') }} as returns,
        {{ vector_pick_rising('volumes', 'traded_positions') }} as volumes
    from located
),

ranged as (
    select
        *,
        {{ vector_min('returns') }} as lowest,
        {{ vector_max('returns') }} as highest,
        {{ vector_sum('volumes') }} as volume,
        {{ vector_map('returns', 'r', 'abs(r)') }} as distances
    from traded
),

ordered as (
    select
        *,
        {{ vector_dot('returns', 'volumes') }} / volume as mean_return,
        {{ vector_sorted_by('returns', 'returns') }} as rising_returns,
        {{ vector_sorted_by('volumes', 'returns') }} as volumes_by_return,
        {{ vector_sorted_by('distances', 'distances') }} as rising_distances,
        {{ vector_sorted_by('volumes', 'distances') }} as volumes_by_distance
    from ranged
    where lowest < highest
),

labelled as (
    select
        *,
        {{ quantile_positions('volumes_by_return', 'volume', percents) }} -- noqa: PRS
            as return_positions,
        {{ quantile_positions('volumes_by_distance', 'volume', [90]) }} -- noqa: PRS
            as distance_positions,
        {{ vector_map('rising_returns', 'r', 'round(r * 1e8)') }} as levels,
        -- ticks put many returns exactly on an edge; those belong above it, whatever the last digit
        {{ vector_map(
            'rising_returns',
            'r',
            'least(floor(25e0 * (r - lowest) / (highest - lowest) + 1e-9), 24e0)'
        ) }} as bins,
        {{ vector_map('returns', 'r', 'r - mean_return') }} as offsets
    from ordered
),

bounded as (
    select
        *,
        {{ run_ends('levels') }} as level_ends,
        {{ run_ends('bins') }} as bin_ends,
        {{ vector_map('offsets', 'd', 'd * d') }} as squared_offsets
    from labelled
),

grouped as (
    select
        *,
        {{ run_sums('volumes_by_return', 'level_ends') }} as level_volumes,
        {{ run_sums('volumes_by_return', 'bin_ends') }} as bin_volumes,
        {{ vector_map(
            vector_positions('offsets'),
            'i',
            vector_item('squared_offsets', 'i') ~ ' * ' ~ vector_item('offsets', 'i')
        ) }} as cubed_offsets,
        {{ vector_map('squared_offsets', 'd', 'd * d') }} as fourth_offsets
    from bounded
),

-- A bin's share of the volume, less the mean share of 25 bins.
excessive as (
    select
        *,
        {{ vector_map('bin_volumes', 'v', 'v / volume - 4e-2') }} as excesses,
        {{ vector_dot('volumes', 'squared_offsets') }} / volume as m2,
        {{ vector_dot('volumes', 'cubed_offsets') }} / volume as m3,
        {{ vector_dot('volumes', 'fourth_offsets') }} / volume as m4
    from grouped
),

-- Bins without volume lie below the mean by the whole mean.
moments as (
    select
        *,
        {% for k in (2, 3, 4) %}
        (
            {{ vector_sum(vector_map('excesses', 'e', 'power(e, ' ~ k ~ ')')) }}
            + (25 - {{ vector_size('excesses') }}) * power(-4e-2, {{ k }})
        ) / 25e0 as bin_m{{ k }},
        {% endfor %}
        {{ vector_size('level_volumes') }} as n_levels,
        {{ vector_largest('level_volumes', 10) }} as largest_levels,
        {{ vector_smallest('level_volumes', 10) }} as smallest_levels,
        {{ vector_size('bin_volumes') }} = 25
        and {{ vector_min('bin_volumes') }} = {{ vector_max('bin_volumes') }} as is_flat
    from excessive
),

final as (
    select
        symbol,
        hour_ts,
        {% for p in percents %}
        {{ vector_item('rising_returns', vector_item('return_positions', loop.index)) }}
            as doc_vol_pdf{{ p }},
        {% endfor %}
        {{ vector_item('rising_distances', vector_item('distance_positions', 1)) }}
            as doc_vol_pdf90bi,
        case when is_flat then 0e0 else sqrt(bin_m2) end as doc_std,
        case when not is_flat then bin_m3 / power(bin_m2, 1.5e0) end as doc_skew,
        case when not is_flat then bin_m4 / power(bin_m2, 2) - 3e0 end as doc_kurt,
        {{ vector_sum(vector_slice('largest_levels', '1', '5')) }} / volume as doc_vol5_ratio,
        {{ vector_sum('largest_levels') }} / volume as doc_vol10_ratio,
        -- an hour has at most 60 levels, so all but at most 10 are among the 50 largest
        1e0 - {{ vector_sum(vector_slice('smallest_levels', '1', 'greatest(n_levels - 50, 0)')) }}
        / volume as doc_vol50_ratio,
        sqrt(m2) as doc_wstd,
        m3 / power(m2, 1.5e0) as doc_wskew,
        m4 / power(m2, 2) - 3e0 as doc_wkurt
    from moments
)

select * from final
