{%- set width = 'cast(' ~ var('magnet_bin') ~ ' as double)' -%}
{%- set half_life = 'cast(' ~ var('magnet_hl') ~ ' as double)' -%}

with
events as (
    select * from {{ ref('int_liquidations') }}
    where is_hour_source
),

coverage as (
    select * from {{ ref('liq_feed_coverage') }}
),

bars as (
    select * from {{ ref('hourly_bars') }}
),

-- 72 hours: an event counts in its own hour and in the 71 after it.
ages (age) as (
    select * from range(0, 72)
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

asked as (
    select
        bars.symbol,
        bars.hour_ts,
        bars.listing_segment,
        bars.close
    from bars
    inner join coverage
        on
            bars.symbol = coverage.symbol
            and bars.hour_ts = coverage.hour_ts
    where bars.has_bar = 1 and coverage.ok
),

masses as (
    select
        asked.symbol,
        asked.hour_ts,
        asked.close,
        listed.bin,
        sum(listed.mass * power(2e0, -ages.age / {{ half_life }})) as mass,
        sum(listed.n_events) as n_events
    from listed
    cross join ages
    inner join asked
        on
            listed.symbol = asked.symbol
            and listed.listing_segment = asked.listing_segment
            and listed.hour_ts + ages.age * interval '1' hour = asked.hour_ts
    group by asked.symbol, asked.hour_ts, asked.close, listed.bin
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
