{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 600}) }}

with
spine as (
    select * from {{ ref('int_hourly_spine') }}
    where {{ in_reach('hour_ts') }}
),

minute_factors as (
    select * from {{ ref('int_minute_factors_hourly') }}
    where {{ in_reach('hour_ts') }}
),

us_opens as (
    select * from {{ ref('int_us_open_hourly') }}
    where {{ in_reach('hour_ts') }}
),

joined as (
    select
        spine.symbol,
        spine.hour_ts,
        spine.bar_end_time,
        spine.feature_time,
        spine.has_bar,
        spine.listing_segment,
        minute_factors.seg_head_logret,
        minute_factors.seg_tail_logret,
        us_opens.us_open_logret,
        minute_factors.vol_top20_logret_sum,
        minute_factors.vol_top20_frac,
        minute_factors.vol_top20_minute_frac,
        minute_factors.amihud_signed,
        minute_factors.amihud_abs,
        minute_factors.qrs_beta_close_per_hour,
        minute_factors.qrs_beta_high_per_hour,
        minute_factors.qrs_beta_low_per_hour,
        minute_factors.qrs_r2_close,
        minute_factors.qrs_r2_high,
        minute_factors.qrs_r2_low,
        minute_factors.qrs_hl_beta,
        minute_factors.qrs_hl_r2
    from spine
    left join minute_factors
        on
            spine.symbol = minute_factors.symbol
            and spine.hour_ts = minute_factors.hour_ts
    left join us_opens
        on
            spine.symbol = us_opens.symbol
            and spine.hour_ts = us_opens.hour_ts
),

windowed as (
    select
        *,
        {{ latest('us_open_logret', 'hour_ts') }} over day_to_row as last_us_open_logret,
        count(qrs_hl_beta) over baseline as n_baseline,
        {{ exact_sum('qrs_hl_beta', scale=20, window='baseline') }} as sum_baseline,
        stddev_samp(qrs_hl_beta) over baseline as std_baseline,
        min(qrs_hl_beta) over baseline as min_baseline,
        max(qrs_hl_beta) over baseline as max_baseline
    from joined
    window
        day_to_row as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between 23 preceding and current row
        ),
        baseline as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between 600 preceding and 1 preceding
        )
),

scored as (
    select
        *,
        abs(seg_head_logret) + abs(seg_tail_logret) as segment_path,
        case
            when n_baseline >= 450 and min_baseline < max_baseline
                then {{ safe_div('qrs_hl_beta - sum_baseline / n_baseline', 'std_baseline') }}
        end as qrs_hl_z
    from windowed
),

final as (
    select
        symbol,
        hour_ts,
        bar_end_time,
        feature_time,
        has_bar,
        listing_segment,
        {{ finite('seg_head_logret') }} as seg_head_logret,
        {{ finite('seg_tail_logret') }} as seg_tail_logret,
        {{ finite('seg_tail_logret - seg_head_logret') }} as seg_tail_minus_head,
        {{ finite(safe_div('abs(seg_tail_logret)', 'segment_path')) }} as seg_tail_share,
        -- below one basis point the ratio is noise over noise
        {{ finite(
            'case when abs(seg_head_logret + seg_tail_logret) >= 1e-4 then seg_tail_logret / '
            ~ '(seg_head_logret + seg_tail_logret) end'
        ) }} as seg_tail_share_signed,
        {{ finite('us_open_logret') }} as seg_us_open_60m_logret,
        {{ finite('last_us_open_logret') }} as seg_us_open_60m_logret_last,
        {{ finite('vol_top20_logret_sum') }} as vol_top20_logret_sum,
        {{ finite('vol_top20_frac') }} as vol_top20_frac,
        {{ finite('vol_top20_minute_frac') }} as vol_top20_minute_frac,
        {{ finite('amihud_signed') }} as amihud_signed,
        {{ finite('amihud_abs') }} as amihud_abs,
        {{ finite('qrs_beta_close_per_hour') }} as qrs_beta_close_per_hour,
        {{ finite('qrs_beta_high_per_hour') }} as qrs_beta_high_per_hour,
        {{ finite('qrs_beta_low_per_hour') }} as qrs_beta_low_per_hour,
        {{ finite('qrs_r2_close') }} as qrs_r2_close,
        {{ finite('qrs_r2_high') }} as qrs_r2_high,
        {{ finite('qrs_r2_low') }} as qrs_r2_low,
        {{ finite('qrs_beta_close_per_hour * qrs_r2_close') }} as qrs_close,
        {{ finite('qrs_beta_high_per_hour * qrs_r2_high') }} as qrs_high,
        {{ finite('qrs_beta_low_per_hour * qrs_r2_low') }} as qrs_low,
        {{ finite('qrs_hl_beta') }} as qrs_hl_beta,
        {{ finite('qrs_hl_r2') }} as qrs_hl_r2,
        {{ finite('qrs_hl_z') }} as qrs_hl_z,
        {{ finite('qrs_hl_z * qrs_hl_r2') }} as qrs_hl,
        {{ finite('qrs_hl_z * qrs_hl_r2 * qrs_hl_beta') }} as qrs_hl_rskew
    from scored
)

select * from final
