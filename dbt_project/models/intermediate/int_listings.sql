with
minute_hours as (
    select * from {{ ref('int_klines_hourly') }}
),

hours as (
    select * from {{ ref('int_klines_1h') }}
),

bars as (
    select * from {{ ref('int_bars_hourly') }}
),

horizon as (
    select * from {{ ref('int_horizon') }}
),

first_minutes as (
    select
        symbol,
        min(first_open_time) as first_ts
    from minute_hours
    group by symbol
),

first_hours as (
    select
        symbol,
        min(open_time) as first_ts
    from hours
    group by symbol
),

-- Hourly bars count only where they reach back further than minute bars.
first_bars as (
    select
        coalesce(first_minutes.symbol, first_hours.symbol) as symbol,
        case
            when
                first_minutes.first_ts is null
                or first_hours.first_ts < date_trunc('hour', first_minutes.first_ts)
                then first_hours.first_ts
            else first_minutes.first_ts
        end as listed_ts
    from first_minutes
    full outer join first_hours on first_minutes.symbol = first_hours.symbol
),

last_trades as (
    select
        bars.symbol,
        max(
            bars.hour_ts + (coalesce(bars.last_active_minute, 59) + 1) * interval '1' minute
        ) as last_trade_ts
    from bars
    cross join horizon
    where
        bars.is_active
        and bars.hour_ts < horizon.horizon_ts
    group by bars.symbol
),

final as (
    select
        first_bars.symbol,
        first_bars.listed_ts,
        last_trades.last_trade_ts,
        case
            when
                last_trades.last_trade_ts
                + interval '{{ var("segment_silence_hours") }}' hour <= horizon.horizon_ts
                then last_trades.last_trade_ts
        end as delisted_ts
    from first_bars
    left join last_trades on first_bars.symbol = last_trades.symbol
    cross join horizon
)

select * from final
