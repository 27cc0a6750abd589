{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 1}) }}

with
bars as (
    select * from {{ ref('hourly_bars') }}
    where {{ in_reach('hour_ts') }}
),

metrics as (
    select * from {{ ref('int_metrics_hourly') }}
    where {{ in_reach('hour_ts') }}
),

prices as (
    select * from {{ ref('int_price_triad_hourly') }}
    where {{ in_reach('hour_ts') }}
),

basis as (
    select * from {{ ref('int_basis_hourly') }}
    where {{ in_reach('hour_ts') }}
),

premium as (
    select * from {{ ref('int_premium_hourly') }}
    where {{ in_reach('hour_ts') }}
),

joined as (
    select
        bars.symbol,
        bars.hour_ts,
        bars.bar_end_time,
        bars.feature_time,
        bars.has_bar,
        bars.listing_segment,
        bars.open,
        bars.close,
        bars.volume,
        bars.quote_volume,
        bars.taker_buy_quote_volume,
        bars.vwap_quote,
        metrics.open_interest,
        metrics.open_interest_usd,
        metrics.open_interest_age_minutes,
        metrics.open_interest_source,
        metrics.toptrader_position_ratio,
        metrics.toptrader_account_ratio,
        metrics.global_account_ratio,
        metrics.taker_vol_ratio,
        prices.mark_close,
        prices.index_close,
        prices.basis,
        prices.mark_basis,
        prices.last_mark_dev,
        premium.premium_open,
        premium.premium_high,
        premium.premium_low,
        premium.premium_close,
        case when premium.n_minutes >= 45 then premium.premium_mean end as premium_twap,
        case when basis.n_minutes >= 45 then basis.basis_mean end as basis_mean,
        case when basis.n_minutes >= 45 then basis.basis_std end as basis_std
    from bars
    left join metrics
        on
            bars.symbol = metrics.symbol
            and bars.hour_ts = metrics.hour_ts
    left join prices
        on
            bars.symbol = prices.symbol
            and bars.hour_ts = prices.hour_ts
    left join basis
        on
            bars.symbol = basis.symbol
            and bars.hour_ts = basis.hour_ts
    left join premium
        on
            bars.symbol = premium.symbol
            and bars.hour_ts = premium.hour_ts
),

differenced as (
    select
        *,
        open_interest - lag(open_interest) over hours as oi_delta,
        open_interest_usd - lag(open_interest_usd) over hours as oi_delta_usd,
        {{ safe_div('toptrader_position_ratio', '1 + toptrader_position_ratio') }}
            as position_share,
        {{ safe_div('toptrader_account_ratio', '1 + toptrader_account_ratio') }}
            as account_share,
        {{ safe_div('global_account_ratio', '1 + global_account_ratio') }} as global_share
    from joined
    window
        hours as (
            partition by symbol, listing_segment order by hour_ts nulls last
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
        {{ finite('open_interest') }} as oi_open_interest,
        {{ finite('open_interest_usd') }} as oi_open_interest_usd,
        cast(open_interest_age_minutes as int) as oi_age_minutes,
        cast(open_interest_source as string) as oi_source,
        {{ finite('oi_delta') }} as oi_delta,
        {{ finite(safe_div('oi_delta', 'volume')) }} as oi_delta_over_volume,
        {{ finite('oi_delta_usd') }} as oi_delta_usd,
        {{ finite(safe_div('oi_delta_usd', 'quote_volume')) }} as oi_delta_usd_over_quote_volume,
        {{ finite('oi_delta * vwap_quote') }} as oi_flow_usd,
        {{ finite(safe_div('oi_delta * vwap_quote', 'quote_volume')) }}
            as oi_flow_over_quote_volume,
        {{ finite(safe_div('quote_volume', 'open_interest_usd')) }} as oi_turnover,
        case
            when close > open and oi_delta > 0 then 1
            when close > open and oi_delta < 0 then 2
            when close < open and oi_delta > 0 then 3
            when close < open and oi_delta < 0 then 4
        end as oi_price_quadrant,
        {{ finite('toptrader_position_ratio') }} as ls_toptrader_long_short_ratio,
        {{ finite('toptrader_account_ratio') }} as ls_toptrader_account_ratio,
        {{ finite('global_account_ratio') }} as ls_global_account_ratio,
        {{ finite('taker_vol_ratio') }} as ls_taker_long_short_vol_ratio,
        {{ finite(safe_div(
            'taker_buy_quote_volume', 'quote_volume - taker_buy_quote_volume'
        )) }} as taker_vol_ratio_1h,
        {{ finite('position_share') }} as toptrader_position_long_share,
        {{ finite('account_share') }} as toptrader_account_long_share,
        {{ finite('global_share') }} as global_account_long_share,
        {{ finite('position_share - global_share') }} as smart_dumb_spread,
        {{ finite('position_share - account_share') }} as super_whale_divergence,
        {{ finite('mark_close') }} as triad_mark_close,
        {{ finite('index_close') }} as triad_index_close,
        {{ finite('premium_open') }} as triad_premium_open,
        {{ finite('premium_high') }} as triad_premium_high,
        {{ finite('premium_low') }} as triad_premium_low,
        {{ finite('premium_close') }} as triad_premium_close,
        {{ finite('premium_twap') }} as triad_premium_twap,
        {{ finite('basis') }} as triad_basis,
        {{ finite('basis_mean') }} as triad_basis_mean,
        {{ finite('basis_std') }} as triad_basis_std,
        {{ finite('mark_basis') }} as triad_mark_basis,
        {{ finite('last_mark_dev') }} as triad_last_mark_dev
    from differenced
)

select * from final
