{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 0}) }}

with
bars as (
    select * from {{ ref('hourly_bars') }}
    where {{ in_reach('hour_ts') }}
),

funding as (
    select * from {{ ref('hourly_funding') }}
    where {{ in_reach('hour_ts') }}
),

cleaned as (
    select * from {{ ref('hourly_cleaned') }}
    where {{ in_reach('hour_ts') }}
),

open_interest as (
    select * from {{ ref('hourly_open_interest') }}
    where {{ in_reach('hour_ts') }}
),

momentum as (
    select * from {{ ref('hourly_momentum') }}
    where {{ in_reach('hour_ts') }}
),

volatility as (
    select * from {{ ref('hourly_volatility') }}
    where {{ in_reach('hour_ts') }}
),

context as (
    select * from {{ ref('hourly_context') }}
    where {{ in_reach('hour_ts') }}
),

order_flow as (
    select * from {{ ref('hourly_order_flow') }}
    where {{ in_reach('hour_ts') }}
),

liquidations as (
    select * from {{ ref('hourly_liquidations') }}
    where {{ in_reach('hour_ts') }}
),

liquidation_factors as (
    select * from {{ ref('liquidation_factors_1h') }}
    where {{ in_reach('hour_ts') }}
),

structure as (
    select * from {{ ref('hourly_structure') }}
    where {{ in_reach('hour_ts') }}
),

transforms as (
    select * from {{ ref('hourly_transforms') }}
    where {{ in_reach('hour_ts') }}
),

signals as (
    select * from {{ ref('hourly_signals') }}
    where {{ in_reach('hour_ts') }}
),

final as (
    select
        bars.symbol,
        bars.hour_ts,
        bars.bar_end_time,
        bars.feature_time,
        bars.has_bar,
        bars.listing_segment,
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        bars.volume,
        bars.quote_volume,
        bars.trade_count,
        bars.taker_buy_volume,
        bars.taker_buy_quote_volume,
        bars.vwap,
        bars.vwap_quote,
        bars.vwap_dev,
        bars.n_minutes,
        bars.n_minutes_active,
        bars.quote_is_proxy,
        bars.bar_source,
        bars.bar_origin,
        funding.funding_rate,
        funding.funding_interval_hours,
        funding.funding_annualized,
        funding.funding_delta,
        funding.funding_delta_settle,
        funding.arb_pressure,
        funding.arb_pressure_side,
        funding.funding_paid_24h,
        funding.hours_since_funding,
        funding.funding_pressure,
        funding.funding_rate_pred,
        funding.funding_source,
        cleaned.gap_seconds,
        cleaned.gap_seconds_1m,
        cleaned.under_maintenance,
        cleaned.cooldown_no_trade,
        cleaned.trade_allowed,
        cleaned.is_stable,
        cleaned.is_spike,
        cleaned.volume_z_168h,
        cleaned.is_volume_spike,
        cleaned.volume_cap_p99,
        cleaned.volume_clean,
        cleaned.age_hours,
        cleaned.is_mature,
        cleaned.is_valid_for_training,
        open_interest.oi_open_interest,
        open_interest.oi_open_interest_usd,
        open_interest.oi_age_minutes,
        open_interest.oi_source,
        open_interest.oi_delta,
        open_interest.oi_delta_over_volume,
        open_interest.oi_delta_usd,
        open_interest.oi_delta_usd_over_quote_volume,
        open_interest.oi_flow_usd,
        open_interest.oi_flow_over_quote_volume,
        open_interest.oi_turnover,
        open_interest.oi_price_quadrant,
        open_interest.ls_toptrader_long_short_ratio,
        open_interest.ls_toptrader_account_ratio,
        open_interest.ls_global_account_ratio,
        open_interest.ls_taker_long_short_vol_ratio,
        open_interest.taker_vol_ratio_1h,
        open_interest.toptrader_position_long_share,
        open_interest.toptrader_account_long_share,
        open_interest.global_account_long_share,
        open_interest.smart_dumb_spread,
        open_interest.super_whale_divergence,
        open_interest.triad_mark_close,
        open_interest.triad_index_close,
        open_interest.triad_premium_open,
        open_interest.triad_premium_high,
        open_interest.triad_premium_low,
        open_interest.triad_premium_close,
        open_interest.triad_premium_twap,
        open_interest.triad_basis,
        open_interest.triad_basis_mean,
        open_interest.triad_basis_std,
        open_interest.triad_mark_basis,
        open_interest.triad_last_mark_dev,
        momentum.seg_head_logret,
        momentum.seg_tail_logret,
        momentum.seg_tail_minus_head,
        momentum.seg_tail_share,
        momentum.seg_tail_share_signed,
        momentum.seg_us_open_60m_logret,
        momentum.seg_us_open_60m_logret_last,
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
        momentum.qrs_close,
        momentum.qrs_high,
        momentum.qrs_low,
        momentum.qrs_hl_beta,
        momentum.qrs_hl_r2,
        momentum.qrs_hl_z,
        momentum.qrs_hl,
        momentum.qrs_hl_rskew,
        volatility.vol_1m_mean,
        volatility.vol_1m_std,
        volatility.vol_1m_cv,
        volatility.range_ratio_1m_std,
        volatility.log_range_1m_std,
        volatility.min_range_ratio_max,
        volatility.up_vol_l2,
        volatility.down_vol_l2,
        volatility.up_var_share,
        volatility.down_var_share,
        volatility.rv_std_sqrt60,
        volatility.rv_l2,
        volatility.rv_per_vol,
        volatility.rv_stability_24h,
        volatility.shape_skew,
        volatility.shape_kurt,
        volatility.shape_skratio,
        volatility.shape_skewVol,
        volatility.shape_kurtVol,
        volatility.shape_skratioVol,
        volatility.corr_prv,
        volatility.corr_prvr,
        volatility.corr_pv,
        volatility.corr_pvd,
        volatility.corr_pvl,
        volatility.corr_pvr,
        volatility.liq_amihud,
        volatility.liq_last_5min_R,
        volatility.liq_funding_impact,
        volatility.liq_funding_window_share,
        volatility.liq_top_of_hour_ratio,
        volatility.is_funding_hour,
        volatility.liq_range_vol_ratio,
        volatility.liq_spread_std,
        volatility.liq_tail_risk,
        volatility.liq_tail_var_share,
        volatility.doc_vol_pdf60,
        volatility.doc_vol_pdf70,
        volatility.doc_vol_pdf80,
        volatility.doc_vol_pdf90,
        volatility.doc_vol_pdf95,
        volatility.doc_vol_pdf90bi,
        volatility.doc_std,
        volatility.doc_skew,
        volatility.doc_kurt,
        volatility.doc_vol5_ratio,
        volatility.doc_vol10_ratio,
        volatility.doc_vol50_ratio,
        volatility.doc_wstd,
        volatility.doc_wskew,
        volatility.doc_wkurt,
        context.returns_1h,
        context.returns_24h,
        context.returns_168h,
        context.relative_volume,
        context.turnover_ratio,
        context.price_efficiency,
        context.vol_regime,
        context.cs_universe_size,
        context.cs_coverage_frac,
        order_flow.at_trade_count,
        order_flow.at_base_volume,
        order_flow.at_quote_volume,
        order_flow.at_vwap,
        order_flow.taker_buy_qty,
        order_flow.taker_sell_qty,
        order_flow.taker_buy_quote,
        order_flow.taker_sell_quote,
        order_flow.taker_buy_trade_count,
        order_flow.taker_sell_trade_count,
        order_flow.cvd_qty,
        order_flow.cvd_quote,
        order_flow.cvd_quote_24h,
        order_flow.imbalance_quote,
        order_flow.imbalance_ratio_quote,
        order_flow.count_imbalance,
        order_flow.tw_cvd_quote_norm,
        order_flow.tw_cvd_imbalance,
        order_flow.avg_trade_quote,
        order_flow.avg_trade_base,
        order_flow.taker_buy_avg_trade_quote,
        order_flow.taker_sell_avg_trade_quote,
        order_flow.taker_buy_hhi_quote,
        order_flow.taker_sell_hhi_quote,
        order_flow.at_price_change,
        order_flow.cvd_per_abs_price_change,
        order_flow.whale_thr_quote,
        order_flow.retail_thr_quote,
        order_flow.size_thr_n_trades,
        order_flow.whale_thr_q_eff,
        order_flow.retail_thr_q_eff,
        order_flow.whale_buy_quote,
        order_flow.whale_sell_quote,
        order_flow.whale_cvd_quote,
        order_flow.whale_buy_count,
        order_flow.whale_sell_count,
        order_flow.whale_share_quote,
        order_flow.whale_imbalance,
        order_flow.retail_buy_quote,
        order_flow.retail_sell_quote,
        order_flow.retail_cvd_quote,
        order_flow.retail_buy_count,
        order_flow.retail_sell_count,
        order_flow.retail_share_quote,
        order_flow.retail_imbalance,
        order_flow.whale50k_cvd_quote,
        order_flow.retail1k_cvd_quote,
        liquidations.long_liq_volume,
        liquidations.short_liq_volume,
        liquidations.long_liq_qty,
        liquidations.short_liq_qty,
        liquidations.long_liq_count,
        liquidations.short_liq_count,
        liquidations.long_liq_max,
        liquidations.short_liq_max,
        liquidations.liq_total_volume,
        liquidations.liq_imbalance,
        liquidations.long_liq_z_168h,
        liquidations.short_liq_z_168h,
        liquidations.long_liq_rank_168h,
        liquidations.short_liq_rank_168h,
        liquidations.liq_over_quote_volume,
        liquidations.liq_feed_ok
        {%- for name in liquidation_factor_names() %},
        liquidation_factors.{{ name }}
        {%- endfor %},
        structure.fuel_short_z,
        structure.fuel_long_z,
        structure.fuel_short_intensity,
        structure.fuel_long_intensity,
        structure.fuel_short_mem,
        structure.fuel_long_mem,
        structure.fuel_break_up,
        structure.fuel_break_dn,
        structure.fuel_up_score,
        structure.fuel_dn_score,
        structure.distance_to_max_liq,
        structure.distance_to_max_liq_up,
        structure.distance_to_max_liq_dn,
        structure.magnet_max_share,
        structure.magnet_pull,
        structure.distance_to_max_liq_real,
        structure.magnet_real_max_share,
        structure.whale_retail_ratio,
        structure.whale_retail_logratio,
        structure.whale_retail_divergence,
        structure.retail_count_imbalance,
        structure.retail_buy_count_z_168h,
        structure.net_burn_volume,
        structure.net_burn_ratio,
        structure.net_burn_over_quote,
        structure.absorption_z,
        structure.pressure_distribution,
        structure.pressure_accumulation
        {%- for name in transform_columns() %},
        transforms.{{ name }}
        {%- endfor %},
        signals.atr_10,
        signals.st_upper,
        signals.st_lower,
        signals.st_line,
        signals.st_dir,
        signals.st_flip,
        signals.st_dist_logret,
        signals.st_bars_since_flip,
        signals.setup_long_flush,
        signals.setup_short_squeeze,
        signals.setup_source,
        signals.setup_long_flush_strength,
        signals.setup_short_squeeze_strength,
        signals.bars_since_long_flush,
        signals.bars_since_short_squeeze,
        signals.sig_reversal_long,
        signals.sig_squeeze_long,
        signals.sig_reversal_short,
        signals.sig_flush_short,
        signals.n_signal,
        signals.n_bars_to_confirm
    from bars
    left join funding
        on
            bars.symbol = funding.symbol
            and bars.hour_ts = funding.hour_ts
    left join cleaned
        on
            bars.symbol = cleaned.symbol
            and bars.hour_ts = cleaned.hour_ts
    left join open_interest
        on
            bars.symbol = open_interest.symbol
            and bars.hour_ts = open_interest.hour_ts
    left join momentum
        on
            bars.symbol = momentum.symbol
            and bars.hour_ts = momentum.hour_ts
    left join volatility
        on
            bars.symbol = volatility.symbol
            and bars.hour_ts = volatility.hour_ts
    left join context
        on
            bars.symbol = context.symbol
            and bars.hour_ts = context.hour_ts
    left join order_flow
        on
            bars.symbol = order_flow.symbol
            and bars.hour_ts = order_flow.hour_ts
    left join liquidations
        on
            bars.symbol = liquidations.symbol
            and bars.hour_ts = liquidations.hour_ts
    left join liquidation_factors
        on
            bars.symbol = liquidation_factors.symbol
            and bars.hour_ts = liquidation_factors.hour_ts
    left join structure
        on
            bars.symbol = structure.symbol
            and bars.hour_ts = structure.hour_ts
    left join transforms
        on
            bars.symbol = transforms.symbol
            and bars.hour_ts = transforms.hour_ts
    left join signals
        on
            bars.symbol = signals.symbol
            and bars.hour_ts = signals.hour_ts
)

select * from final
