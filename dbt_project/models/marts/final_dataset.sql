with
bars as (
    select * from {{ ref('hourly_bars') }}
),

funding as (
    select * from {{ ref('hourly_funding') }}
),

cleaned as (
    select * from {{ ref('hourly_cleaned') }}
),

open_interest as (
    select * from {{ ref('hourly_open_interest') }}
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
        open_interest.triad_last_mark_dev
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
)

select * from final
