{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 23}) }}

with
spine as (
    select * from {{ ref('int_hourly_spine') }}
    where {{ in_reach('hour_ts') }}
),

minute_factors as (
    select * from {{ ref('int_minute_factors_hourly') }}
    where {{ in_reach('hour_ts') }}
),

funding_hours as (
    select * from {{ ref('int_funding_hourly') }}
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
        coalesce(funding_hours.settle_time = spine.hour_ts, false) as is_settlement_hour,
        -- before the first settlement only the usual hours are known
        funding_hours.settle_time is null
        and extract(hour from spine.hour_ts) in (0, 8, 16) as is_fallback_hour,
        minute_factors.volume,
        minute_factors.volume_first_5,
        minute_factors.volume_last_5,
        minute_factors.vol_1m_mean,
        minute_factors.vol_1m_std,
        minute_factors.range_ratio_1m_std,
        minute_factors.log_range_1m_std,
        minute_factors.min_range_ratio_max,
        minute_factors.up_vol_l2,
        minute_factors.down_vol_l2,
        minute_factors.up_var_share,
        minute_factors.rv_std_sqrt60,
        minute_factors.rv_l2,
        minute_factors.rv_per_vol,
        minute_factors.shape_skew,
        minute_factors.shape_kurt,
        minute_factors.shape_skratio,
        minute_factors.shape_skewvol,
        minute_factors.shape_kurtvol,
        minute_factors.shape_skratiovol,
        minute_factors.corr_prv,
        minute_factors.corr_prvr,
        minute_factors.corr_pv,
        minute_factors.corr_pvd,
        minute_factors.corr_pvl,
        minute_factors.corr_pvr,
        minute_factors.liq_amihud,
        minute_factors.liq_last_5min_r,
        minute_factors.liq_funding_impact,
        minute_factors.liq_top_of_hour_ratio,
        minute_factors.liq_range_vol_ratio,
        minute_factors.liq_spread_std,
        minute_factors.liq_tail_var_share,
        minute_factors.doc_vol_pdf60,
        minute_factors.doc_vol_pdf70,
        minute_factors.doc_vol_pdf80,
        minute_factors.doc_vol_pdf90,
        minute_factors.doc_vol_pdf95,
        minute_factors.doc_vol_pdf90bi,
        minute_factors.doc_std,
        minute_factors.doc_skew,
        minute_factors.doc_kurt,
        minute_factors.doc_vol5_ratio,
        minute_factors.doc_vol10_ratio,
        minute_factors.doc_vol50_ratio,
        minute_factors.doc_wstd,
        minute_factors.doc_wskew,
        minute_factors.doc_wkurt
    from spine
    left join minute_factors
        on
            spine.symbol = minute_factors.symbol
            and spine.hour_ts = minute_factors.hour_ts
    left join funding_hours
        on
            spine.symbol = funding_hours.symbol
            and spine.hour_ts = funding_hours.hour_ts
),

windowed as (
    select
        *,
        lag(volume) over by_hour as previous_volume,
        lag(volume_last_5) over by_hour as previous_volume_last_5,
        count(rv_std_sqrt60) over day_to_row as n_day,
        avg(rv_std_sqrt60) over day_to_row as mean_day
    from joined
    window
        by_hour as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
        ),
        day_to_row as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between 23 preceding and current row
        )
),

final as (
    select
        symbol,
        hour_ts,
        bar_end_time,
        feature_time,
        has_bar,
        listing_segment,
        {{ finite('vol_1m_mean') }} as vol_1m_mean,
        {{ finite('vol_1m_std') }} as vol_1m_std,
        {{ finite(safe_div('vol_1m_std', 'vol_1m_mean')) }} as vol_1m_cv,
        {{ finite('range_ratio_1m_std') }} as range_ratio_1m_std,
        {{ finite('log_range_1m_std') }} as log_range_1m_std,
        {{ finite('min_range_ratio_max') }} as min_range_ratio_max,
        {{ finite('up_vol_l2') }} as up_vol_l2,
        {{ finite('down_vol_l2') }} as down_vol_l2,
        {{ finite('up_var_share') }} as up_var_share,
        {{ finite('1e0 - up_var_share') }} as down_var_share,
        {{ finite('rv_std_sqrt60') }} as rv_std_sqrt60,
        {{ finite('rv_l2') }} as rv_l2,
        {{ finite('rv_per_vol') }} as rv_per_vol,
        {{ finite('case when n_day >= 18 then ' ~ safe_div('rv_std_sqrt60', 'mean_day') ~ ' end') }}
            as rv_stability_24h,
        {{ finite('shape_skew') }} as shape_skew,
        {{ finite('shape_kurt') }} as shape_kurt,
        {{ finite('shape_skratio') }} as shape_skratio,
        {{ finite('shape_skewvol') }} as shape_skewVol,
        {{ finite('shape_kurtvol') }} as shape_kurtVol,
        {{ finite('shape_skratiovol') }} as shape_skratioVol,
        {{ finite('corr_prv') }} as corr_prv,
        {{ finite('corr_prvr') }} as corr_prvr,
        {{ finite('corr_pv') }} as corr_pv,
        {{ finite('corr_pvd') }} as corr_pvd,
        {{ finite('corr_pvl') }} as corr_pvl,
        {{ finite('corr_pvr') }} as corr_pvr,
        {{ finite('liq_amihud') }} as liq_amihud,
        {{ finite('liq_last_5min_r') }} as liq_last_5min_R,
        {{ finite('liq_funding_impact') }} as liq_funding_impact,
        {{ finite(
            'case when is_settlement_hour then '
            ~ safe_div('previous_volume_last_5 + volume_first_5', 'previous_volume + volume') ~ ' end'
        ) }} as liq_funding_window_share,
        {{ finite('liq_top_of_hour_ratio') }} as liq_top_of_hour_ratio,
        cast(case when is_settlement_hour or is_fallback_hour then 1 else 0 end as int)
            as is_funding_hour,
        {{ finite('liq_range_vol_ratio') }} as liq_range_vol_ratio,
        {{ finite('liq_spread_std') }} as liq_spread_std,
        {{ finite('sqrt(liq_tail_var_share)') }} as liq_tail_risk,
        {{ finite('liq_tail_var_share') }} as liq_tail_var_share,
        {{ finite('doc_vol_pdf60') }} as doc_vol_pdf60,
        {{ finite('doc_vol_pdf70') }} as doc_vol_pdf70,
        {{ finite('doc_vol_pdf80') }} as doc_vol_pdf80,
        {{ finite('doc_vol_pdf90') }} as doc_vol_pdf90,
        {{ finite('doc_vol_pdf95') }} as doc_vol_pdf95,
        {{ finite('doc_vol_pdf90bi') }} as doc_vol_pdf90bi,
        {{ finite('doc_std') }} as doc_std,
        {{ finite('doc_skew') }} as doc_skew,
        {{ finite('doc_kurt') }} as doc_kurt,
        {{ finite('doc_vol5_ratio') }} as doc_vol5_ratio,
        {{ finite('doc_vol10_ratio') }} as doc_vol10_ratio,
        {{ finite('doc_vol50_ratio') }} as doc_vol50_ratio,
        {{ finite('doc_wstd') }} as doc_wstd,
        {{ finite('doc_wskew') }} as doc_wskew,
        {{ finite('doc_wkurt') }} as doc_wkurt
    from windowed
)

select * from final
