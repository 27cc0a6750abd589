with
dataset as (
    select * from {{ ref('final_dataset') }}
),

last_hours as (
    select
        symbol,
        max(hour_ts) as last_hour_ts,
        max(case when oi_open_interest is not null then hour_ts end) as last_metrics_ts
    from dataset
    group by symbol
),

complete_symbols as (
    select symbol
    from last_hours
    where
        last_hour_ts
        <= last_metrics_ts + interval '{{ var('metrics_end_tolerance_hours') }}' hour
),

final as (
    select
        dataset.symbol,
        dataset.hour_ts,
        dataset.bar_end_time,
        dataset.feature_time,
        dataset.has_bar,
        dataset.listing_segment,
        dataset.open,
        dataset.high,
        dataset.low,
        dataset.close,
        dataset.volume,
        dataset.quote_volume,
        dataset.trade_count,
        dataset.taker_buy_volume,
        dataset.taker_buy_quote_volume,
        dataset.vwap,
        dataset.vwap_quote,
        dataset.vwap_dev,
        dataset.n_minutes,
        dataset.n_minutes_active,
        dataset.quote_is_proxy,
        dataset.bar_source,
        dataset.funding_rate,
        dataset.funding_interval_hours,
        dataset.funding_annualized,
        dataset.funding_delta,
        dataset.funding_delta_settle,
        dataset.arb_pressure,
        dataset.arb_pressure_side,
        dataset.funding_paid_24h,
        dataset.hours_since_funding,
        dataset.funding_pressure,
        dataset.funding_rate_pred,
        dataset.gap_seconds,
        dataset.gap_seconds_1m,
        dataset.under_maintenance,
        dataset.cooldown_no_trade,
        dataset.trade_allowed,
        dataset.is_stable,
        dataset.is_spike,
        dataset.volume_z_168h,
        dataset.is_volume_spike,
        dataset.volume_cap_p99,
        dataset.volume_clean,
        dataset.age_hours,
        dataset.is_mature,
        dataset.is_valid_for_training,
        dataset.oi_open_interest,
        dataset.oi_open_interest_usd,
        dataset.oi_age_minutes,
        dataset.oi_delta,
        dataset.oi_delta_over_volume,
        dataset.oi_delta_usd,
        dataset.oi_delta_usd_over_quote_volume,
        dataset.oi_flow_usd,
        dataset.oi_flow_over_quote_volume,
        dataset.oi_turnover,
        dataset.oi_price_quadrant,
        dataset.ls_toptrader_long_short_ratio,
        dataset.ls_toptrader_account_ratio,
        dataset.ls_global_account_ratio,
        dataset.ls_taker_long_short_vol_ratio,
        dataset.taker_vol_ratio_1h,
        dataset.toptrader_position_long_share,
        dataset.toptrader_account_long_share,
        dataset.global_account_long_share,
        dataset.smart_dumb_spread,
        dataset.super_whale_divergence,
        dataset.triad_mark_close,
        dataset.triad_index_close,
        dataset.triad_premium_open,
        dataset.triad_premium_high,
        dataset.triad_premium_low,
        dataset.triad_premium_close,
        dataset.triad_premium_twap,
        dataset.triad_basis,
        dataset.triad_basis_mean,
        dataset.triad_basis_std,
        dataset.triad_mark_basis,
        dataset.triad_last_mark_dev
    from dataset
    inner join complete_symbols on dataset.symbol = complete_symbols.symbol
)

select * from final
