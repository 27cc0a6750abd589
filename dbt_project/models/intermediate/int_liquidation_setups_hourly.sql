{%- set proxy_min_rows = min_rows(var('proxy_window')) -%}
{%- set proxy_z = 'cast(' ~ var('proxy_z') ~ ' as double)' -%}
{{ config(
    materialized='hourly',
    partition_by='month',
    meta={'hours_before': [var('setup_window'), var('proxy_window')] | max}
) }}

with
bars as (
    select * from {{ ref('hourly_bars') }}
    where {{ in_reach('hour_ts') }}
),

liquidations as (
    select * from {{ ref('hourly_liquidations') }}
    where {{ in_reach('hour_ts') }}
),

joined as (
    select
        bars.symbol,
        bars.hour_ts,
        bars.listing_segment,
        bars.has_bar,
        bars.quote_volume - bars.taker_buy_quote_volume as sold,
        bars.taker_buy_quote_volume as bought,
        {{ safe_ln(safe_div('bars.close', 'bars.open')) }} as logret,
        case when liquidations.liq_feed_ok = 1 then liquidations.long_liq_volume end as flushed,
        case when liquidations.liq_feed_ok = 1 then liquidations.short_liq_volume end as squeezed
    from bars
    left join liquidations
        on
            bars.symbol = liquidations.symbol
            and bars.hour_ts = liquidations.hour_ts
),

windowed as (
    select
        *,
        count(flushed) over setup_frame as n_recorded,
        {{ pct('flushed', var('setup_q')) }} over setup_frame as flushed_quantile,
        {{ pct('squeezed', var('setup_q')) }} over setup_frame as squeezed_quantile,
        {{ baseline_of('sold', 'proxy_frame', 'sold') }},
        {{ baseline_of('bought', 'proxy_frame', 'bought') }}
    from joined
    window
        setup_frame as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between {{ var('setup_window') }} preceding and 1 preceding
        ),
        proxy_frame as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between {{ var('proxy_window') }} preceding and 1 preceding
        )
),

-- Without this hour's liquidations, or without enough of the past's, the tape has to tell.
measured as (
    select
        *,
        flushed is not null and n_recorded >= {{ var('setup_min_hours') }} as is_recorded,
        {{ z_of('sold', 'sold', proxy_min_rows) }} as sold_z,
        {{ z_of('bought', 'bought', proxy_min_rows) }} as bought_z
    from windowed
),

judged as (
    select
        *,
        case
            when has_bar = 0 then null
            when is_recorded
                then case when flushed > 0 and flushed > flushed_quantile then 1 else 0 end
            when sold_z is not null
                then case when sold_z > {{ proxy_z }} and logret < 0 then 1 else 0 end
        end as setup_long_flush,
        case
            when has_bar = 0 then null
            when is_recorded
                then case when squeezed > 0 and squeezed > squeezed_quantile then 1 else 0 end
            when bought_z is not null
                then case when bought_z > {{ proxy_z }} and logret > 0 then 1 else 0 end
        end as setup_short_squeeze
    from measured
),

final as (
    select
        symbol,
        hour_ts,
        cast(setup_long_flush as int) as setup_long_flush,
        cast(setup_short_squeeze as int) as setup_short_squeeze,
        case
            when has_bar = 0 then null
            when is_recorded then 'liq'
            when sold_z is not null or bought_z is not null then 'proxy'
        end as setup_source,
        {{ finite(
            'case when setup_long_flush = 1 then case when is_recorded then '
            ~ safe_div('flushed', 'flushed_quantile') ~ ' else sold_z end end'
        ) }} as setup_long_flush_strength,
        {{ finite(
            'case when setup_short_squeeze = 1 then case when is_recorded then '
            ~ safe_div('squeezed', 'squeezed_quantile') ~ ' else bought_z end end'
        ) }} as setup_short_squeeze_strength
    from judged
)

select * from final
