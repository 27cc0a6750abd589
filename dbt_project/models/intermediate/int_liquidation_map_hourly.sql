{%- set width = 'cast(' ~ var('magnet_bin') ~ ' as double)' -%}
{%- set half_life = 'cast(' ~ var('magnet_hl') ~ ' as double)' -%}
{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 72}) }}

with
events as (
    select * from {{ ref('int_liquidations') }}
    where
        is_hour_source
        and {{ in_reach('hour_ts') }}
),

hour_sources as (
    select * from {{ ref('int_liquidation_sources') }}
    where {{ in_reach('hour_ts') }}
),

bars as (
    select * from {{ ref('hourly_bars') }}
    where {{ in_reach('hour_ts') }}
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

counted as (
    select
        symbol,
        hour_ts,
        sum(n_events) as n_events
    from added
    group by symbol, hour_ts
),

hours as (
    select
        bars.symbol,
        bars.hour_ts,
        bars.listing_segment,
        bars.has_bar,
        bars.close,
        hour_sources.symbol is not null as is_covered,
        sum(coalesce(counted.n_events, 0)) over (
            partition by bars.symbol, bars.listing_segment
            order by bars.hour_ts nulls last
            rows between 71 preceding and current row
        ) as n_events
    from bars
    left join hour_sources
        on
            bars.symbol = hour_sources.symbol
            and bars.hour_ts = hour_sources.hour_ts
    left join counted
        on
            bars.symbol = counted.symbol
            and bars.hour_ts = counted.hour_ts
),

-- Most hours of most contracts have too few events, so they are left out before the bins are made.
asked as (
    select
        symbol,
        hour_ts,
        listing_segment,
        close,
        n_events
    from hours
    where has_bar = 1 and is_covered and n_events >= 20
),

-- An event counts in 72 hours, its own and the 71 after it. The hours are made before they are
-- looked up, or every hour of a contract would meet every other.
spread as (
    select
        added.symbol,
        added.hour_ts,
        added.bin,
        added.mass,
        bars.listing_segment,
        {{ explode(vector_range(0, 72)) }} as age
    from added
    inner join bars
        on
            added.symbol = bars.symbol
            and added.hour_ts = bars.hour_ts
),

masses as (
    select
        asked.symbol,
        asked.hour_ts,
        spread.bin,
        sum(spread.mass * power(2e0, -spread.age / {{ half_life }})) as mass
    from spread
    inner join asked
        on
            spread.symbol = asked.symbol
            and spread.listing_segment = asked.listing_segment
            and spread.hour_ts + spread.age * interval '1' hour = asked.hour_ts
    group by asked.symbol, asked.hour_ts, spread.bin
),

totals as (
    select
        symbol,
        hour_ts,
        max(mass) as largest,
        sum(mass) as mass
    from masses
    group by symbol, hour_ts
),

-- Bins within 1e-9 of the largest are as large as it: the nearest counts, of two equally near the
-- lower.
tied as (
    select
        masses.symbol,
        masses.hour_ts,
        masses.bin,
        masses.mass,
        totals.mass as total
    from masses
    inner join totals
        on
            masses.symbol = totals.symbol
            and masses.hour_ts = totals.hour_ts
            and totals.largest * (1e0 - 1e-9) <= masses.mass
),

clusters as (
    select
        tied.symbol,
        tied.hour_ts,
        tied.bin,
        tied.mass,
        tied.total,
        asked.n_events,
        (tied.bin + 0.5e0) * {{ width }} - {{ safe_ln('asked.close') }} as distance
    from tied
    inner join asked
        on
            tied.symbol = asked.symbol
            and tied.hour_ts = asked.hour_ts
),

measured as (
    select
        *,
        abs(distance) as gap
    from clusters
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
