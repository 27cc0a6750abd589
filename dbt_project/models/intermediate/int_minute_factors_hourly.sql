{{ config(materialized='monthly', partition_by='month') }}

with
momentum as (
    select * from {{ ref('int_minute_momentum_hourly') }}
),

volatility as (
    select * from {{ ref('int_minute_volatility_hourly') }}
),

chips as (
    select * from {{ ref('int_chip_distribution_hourly') }}
),

final as (
    select
        momentum.symbol,
        momentum.hour_ts,
        momentum.n_minutes,
        momentum.seg_head_logret,
        momentum.seg_tail_logret,
        momentum.vol_top20_logret_sum,
        momentum.vol_top20_frac,
        momentum.vol_top20_minute_frac,
        momentum.amihud_signed,
        momentum.amihud_abs,
        momentum.qrs_beta_close_per_hour,
        momentum.qrs_beta_high_per_hour,
        momentum.qrs_beta_low_per_hour,
        momentum.qrs_r2_close,
        momentum.qrs_r2_high,
        momentum.qrs_r2_low,
        momentum.qrs_hl_beta,
        momentum.qrs_hl_r2,
        volatility.volume,
        volatility.volume_first_5,
        volatility.volume_last_5,
        volatility.vol_1m_mean,
        volatility.vol_1m_std,
        volatility.range_ratio_1m_std,
        volatility.log_range_1m_std,
        volatility.min_range_ratio_max,
        volatility.up_vol_l2,
        volatility.down_vol_l2,
        volatility.up_var_share,
        volatility.rv_std_sqrt60,
        volatility.rv_l2,
        volatility.rv_per_vol,
        volatility.shape_skew,
        volatility.shape_kurt,
        volatility.shape_skratio,
        volatility.shape_skewvol,
        volatility.shape_kurtvol,
        volatility.shape_skratiovol,
        volatility.corr_prv,
        volatility.corr_prvr,
        volatility.corr_pv,
        volatility.corr_pvd,
        volatility.corr_pvl,
        volatility.corr_pvr,
        momentum.amihud_abs / nullif(volatility.n_quoted_minutes, 0) as liq_amihud,
        volatility.liq_last_5min_r,
        volatility.liq_funding_impact,
        volatility.liq_top_of_hour_ratio,
        volatility.liq_range_vol_ratio,
        volatility.liq_spread_std,
        volatility.liq_tail_var_share,
        chips.doc_vol_pdf60,
        chips.doc_vol_pdf70,
        chips.doc_vol_pdf80,
        chips.doc_vol_pdf90,
        chips.doc_vol_pdf95,
        chips.doc_vol_pdf90bi,
        chips.doc_std,
        chips.doc_skew,
        chips.doc_kurt,
        chips.doc_vol5_ratio,
        chips.doc_vol10_ratio,
        chips.doc_vol50_ratio,
        chips.doc_wstd,
        chips.doc_wskew,
        chips.doc_wkurt
    from momentum
    inner join volatility
        on
            momentum.symbol = volatility.symbol
            and momentum.hour_ts = volatility.hour_ts
    -- an hour without trades, or with one return only, has no distribution
    left join chips
        on
            momentum.symbol = chips.symbol
            and momentum.hour_ts = chips.hour_ts
)

select * from final
