{{ config(materialized='monthly', partition_by='month') }}

with
minute_hours as (
    select * from {{ ref('int_klines_hourly') }}
    where {{ in_batch('month') }}
),

hour_bars as (
    select * from {{ ref('int_klines_1h') }}
    where {{ in_batch('month') }}
),

from_minutes as (
    select
        symbol,
        hour_ts,
        'klines_1m' as bar_source,
        case
            when n_minutes_from_api = 0 then 'archive'
            when n_minutes_from_api = n_minutes then 'api'
            else 'mixed'
        end as bar_origin,
        open,
        high,
        low,
        close,
        volume,
        quote_volume,
        trade_count,
        taker_buy_volume,
        taker_buy_quote_volume,
        {{ safe_div('typical_value', 'volume') }} as vwap,
        quote_is_proxy,
        n_minutes,
        n_minutes_active,
        first_active_minute,
        last_active_minute,
        max_active_gap_seconds,
        n_minutes_active >= 1 as is_active
    from minute_hours
    where n_minutes >= 1
),

-- An hour without minutes, taken from the exchange's own hourly bars. Its minutes are unknown;
-- if it traded, its last trade is placed in its last minute, so that no silence is invented.
fallback_typed as (
    select
        *,
        (high + low + close) / 3e0 as typical_price
    from hour_bars
    where is_valid
),

from_hours as (
    select
        fallback_typed.symbol,
        fallback_typed.hour_ts,
        'klines_1h' as bar_source,
        fallback_typed.source as bar_origin,
        fallback_typed.open,
        fallback_typed.high,
        fallback_typed.low,
        fallback_typed.close,
        fallback_typed.volume,
        coalesce(
            fallback_typed.quote_volume, fallback_typed.volume * fallback_typed.typical_price
        ) as quote_volume,
        fallback_typed.trade_count,
        fallback_typed.taker_buy_volume,
        fallback_typed.taker_buy_quote_volume,
        case when fallback_typed.volume > 0 then fallback_typed.typical_price end as vwap,
        case when fallback_typed.quote_volume is null then 1 else 0 end as quote_is_proxy,
        0 as n_minutes,
        cast(null as int) as n_minutes_active,
        cast(null as int) as first_active_minute,
        case when fallback_typed.is_active then 59 end as last_active_minute,
        cast(null as bigint) as max_active_gap_seconds,
        fallback_typed.is_active
    from fallback_typed
    left join from_minutes
        on
            fallback_typed.symbol = from_minutes.symbol
            and fallback_typed.hour_ts = from_minutes.hour_ts
    where from_minutes.symbol is null
),

united as (
    select * from from_minutes
    union all
    select * from from_hours
),

priced as (
    select
        *,
        case
            when quote_is_proxy = 0 then {{ safe_div('quote_volume', 'volume') }}
        end as vwap_quote
    from united
),

final as (
    select
        symbol,
        hour_ts,
        bar_source,
        bar_origin,
        open,
        high,
        low,
        close,
        volume,
        quote_volume,
        trade_count,
        taker_buy_volume,
        taker_buy_quote_volume,
        vwap,
        vwap_quote,
        {{ safe_div('close', 'coalesce(vwap_quote, vwap)') }} - 1 as vwap_dev,
        n_minutes,
        n_minutes_active,
        quote_is_proxy,
        first_active_minute,
        last_active_minute,
        max_active_gap_seconds,
        is_active
    from priced
)

select * from final
