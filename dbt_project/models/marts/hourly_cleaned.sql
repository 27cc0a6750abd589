{#- What a row looks back on: its windows, and the last bar and the last trade before it, which no
    segment has farther back than a silence may last. -#}
{{ config(
    materialized='hourly',
    partition_by='month',
    meta={
        'hours_before': [
            var('cap_window'), var('segment_silence_hours'), 168
        ] | max + var('cooldown_hours'),
    }
) }}

with
spine as (
    select * from {{ ref('int_hourly_spine') }}
    where {{ in_reach('hour_ts') }}
),

bars as (
    select * from {{ ref('hourly_bars') }}
    where {{ in_reach('hour_ts') }}
),

activity as (
    select * from {{ ref('int_bars_hourly') }}
    where {{ in_reach('hour_ts') }}
),

timed as (
    select
        bars.symbol,
        bars.hour_ts,
        bars.bar_end_time,
        bars.feature_time,
        bars.has_bar,
        bars.listing_segment,
        bars.close,
        bars.volume,
        bars.n_minutes,
        bars.n_minutes_active,
        spine.n_bars as age_hours,
        activity.max_active_gap_seconds,
        bars.hour_ts + activity.first_active_minute * interval '1' minute as first_active_time,
        bars.hour_ts + activity.last_active_minute * interval '1' minute as last_active_time
    from bars
    inner join spine
        on
            bars.symbol = spine.symbol
            and bars.hour_ts = spine.hour_ts
    left join activity
        on
            bars.symbol = activity.symbol
            and bars.hour_ts = activity.hour_ts
),

windowed as (
    select
        *,
        max(case when has_bar = 1 then hour_ts end) over before_row as previous_bar_ts,
        max(last_active_time) over before_row as previous_active_time,
        {{ latest('close', 'hour_ts') }} over before_row as previous_close,
        count(volume) over x168 as n_x168,
        {{ exact_sum('volume', window='x168') }} as sum_x168,
        stddev_samp(volume) over x168 as std_x168,
        min(volume) over x168 as min_x168,
        max(volume) over x168 as max_x168,
        count(volume) over cap_frame as n_cap,
        {{ pct('volume', var('cap_q')) }} over cap_frame as volume_quantile
    from timed
    window
        before_row as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between unbounded preceding and 1 preceding
        ),
        x168 as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between 168 preceding and 1 preceding
        ),
        cap_frame as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between {{ var('cap_window') }} preceding and 1 preceding
        )
),

measured as (
    select
        *,
        {{ seconds_between('previous_bar_ts', 'hour_ts') }} as gap_seconds,
        greatest(
            {{ seconds_between('previous_active_time', 'first_active_time') }},
            max_active_gap_seconds
        ) as gap_seconds_1m,
        {{ safe_ln(safe_div('close', 'previous_close')) }} as logret,
        case
            when n_x168 >= 24 and min_x168 < max_x168
                then {{ safe_div('volume - sum_x168 / n_x168', 'std_x168') }}
        end as volume_z_168h,
        case when n_cap >= 168 then volume_quantile end as volume_cap_p99
    from windowed
),

judged as (
    select
        *,
        -- 3605 s: on whole hours, at least one is missing
        case
            when has_bar = 0 then 1
            when n_minutes_active = 0 then 1
            when gap_seconds > 3605 then 1
            when gap_seconds_1m > 3605 then 1
            else 0
        end as under_maintenance,
        coalesce(abs(logret) > cast({{ var('spike_logret') }} as double), false) as is_spike,
        coalesce(volume_z_168h > cast({{ var('vol_z') }} as double), false) as is_volume_spike,
        age_hours > 24 as is_mature
    from measured
),

cooled as (
    select
        *,
        max(under_maintenance) over (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between {{ var('cooldown_hours') - 1 }} preceding and current row
        ) as cooldown_no_trade
    from judged
),

final as (
    select
        symbol,
        hour_ts,
        bar_end_time,
        feature_time,
        has_bar,
        listing_segment,
        cast(gap_seconds as bigint) as gap_seconds,
        cast(gap_seconds_1m as bigint) as gap_seconds_1m,
        cast(under_maintenance as int) as under_maintenance,
        cast(cooldown_no_trade as int) as cooldown_no_trade,
        cast(1 - cooldown_no_trade as int) as trade_allowed,
        cooldown_no_trade = 0 as is_stable,
        is_spike,
        {{ finite('volume_z_168h') }} as volume_z_168h,
        is_volume_spike,
        {{ finite('volume_cap_p99') }} as volume_cap_p99,
        {{ finite('case when volume > volume_cap_p99 then volume_cap_p99 else volume end') }}
            as volume_clean,
        cast(age_hours as int) as age_hours,
        is_mature,
        case
            when
                cooldown_no_trade = 0
                and is_mature
                and not is_spike
                and not is_volume_spike
                and n_minutes >= 50
                then 1
            else 0
        end as is_valid_for_training
    from cooled
)

select * from final
