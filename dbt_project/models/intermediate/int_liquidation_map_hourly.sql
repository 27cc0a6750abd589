{%- set width = 'cast(' ~ var('magnet_bin') ~ ' as double)' -%}
{%- set half_life = 'cast(' ~ var('magnet_hl') ~ ' as double)' -%}

with
events as (
    select * from {{ ref('int_liquidations') }}
    where is_hour_source
),

hour_sources as (
    select * from {{ ref('int_liquidation_sources') }}
),

bars as (
    select * from {{ ref('hourly_bars') }}
),

-- An event stands at its average price, at that of the order where the average is not known.
placed as (
    select
        symbol,
        hour_ts,
        value,
        {{ microseconds_between('available_time', "hour_ts + interval '1' hour") }} / 3600e6
            as age_at_end,
        {{ safe_ln('coalesce(case when average_price > 0 then average_price end, price)') }}
            as log_price
    from events
),

-- What an hour adds to each bin, weighed at its end. So the hours after it meet bins, not events.
added as (
    select
        symbol,
        hour_ts,
        floor(log_price / {{ width }}) as bin,
        sum(value * power(2e0, -age_at_end / {{ half_life }})) as mass,
        count(*) as n_events
    from placed
    where log_price is not null and value is not null
    group by symbol, hour_ts, floor(log_price / {{ width }})
),

listed as (
    select
        added.symbol,
        added.hour_ts,
        added.bin,
        added.mass,
        added.n_events,
        bars.listing_segment
    from added
    inner join bars
        on
            added.symbol = bars.symbol
            and added.hour_ts = bars.hour_ts
),

-- An event counts in 72 hours, its own and the 71 after it. The hours are made before they are
-- looked up, or every hour of a contract would meet every other.
spread as (
    select
        symbol,
        hour_ts,
        listing_segment,
        bin,
        mass,
        n_events,
        {{ explode(vector_range(0, 72)) }} as age
    from listed
),

asked as (
    select
        bars.symbol,
        bars.hour_ts,
        bars.listing_segment,
        bars.close
    from bars
    inner join hour_sources
        on
            bars.symbol = hour_sources.symbol
            and bars.hour_ts = hour_sources.hour_ts
    where bars.has_bar = 1
),

masses as (
    select
        asked.symbol,
        asked.hour_ts,
        asked.close,
        spread.bin,
        sum(spread.mass * power(2e0, -spread.age / {{ half_life }})) as mass,
        sum(spread.n_events) as n_events
    from spread
    inner join asked
        on
            spread.symbol = asked.symbol
            and spread.listing_segment = asked.listing_segment
            and spread.hour_ts + spread.age * interval '1' hour = asked.hour_ts
    group by asked.symbol, asked.hour_ts, asked.close, spread.bin
),

totals as (
    select
        symbol,
        hour_ts,
        max(mass) as largest,
        sum(mass) as mass,
        sum(n_events) as n_events
    from masses
    group by symbol, hour_ts
    having sum(n_events) >= 20
),

-- Bins within 1e-9 of the largest are as large as it: the nearest counts, of two equally near the
-- lower.
tied as (
    select
        masses.symbol,
        masses.hour_ts,
        masses.bin,
        masses.mass,
        totals.mass as total,
        totals.n_events,
        (masses.bin + 0.5e0) * {{ width }} - {{ safe_ln('masses.close') }} as distance
    from masses
    inner join totals
        on
            masses.symbol = totals.symbol
            and masses.hour_ts = totals.hour_ts
            and totals.largest * (1e0 - 1e-9) <= masses.mass
),

measured as (
    select
        *,
        abs(distance) as gap
    from tied
),

ranked as (
    select
        *,
        row_number() over (
            partition by symbol, hour_ts order by gap asc nulls last, bin asc nulls last
        ) as place
    from measured
),

final as (
    select
        symbol,
        hour_ts,
        cast(n_events as bigint) as n_events,
        distance as distance_to_max_liq_real,
        {{ safe_div('mass', 'total') }} as magnet_real_max_share
    from ranked
    where place = 1
)

select * from final
