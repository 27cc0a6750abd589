{{ config(
    materialized='hourly',
    partition_by='month',
    meta={'hours_before': var('segment_silence_hours') + 24}
) }}

with
bars as (
    select * from {{ ref('hourly_bars') }}
    where {{ in_reach('hour_ts') }}
),

volatility as (
    select * from {{ ref('hourly_volatility') }}
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
        bars.high,
        bars.low,
        bars.close,
        bars.quote_volume,
        volatility.rv_std_sqrt60,
        {{ latest('bars.close', 'bars.hour_ts') }} over (
            partition by bars.symbol, bars.listing_segment
            order by bars.hour_ts nulls last
            rows between unbounded preceding and 1 preceding
        ) as previous_close
    from bars
    left join volatility
        on
            bars.symbol = volatility.symbol
            and bars.hour_ts = volatility.hour_ts
),

ranged as (
    select
        *,
        case
            when has_bar = 1
                then greatest(high - low, abs(high - previous_close), abs(low - previous_close))
        end as true_range
    from joined
),

windowed as (
    select
        *,
        lag(close, 1) over by_hour as close_1h_ago,
        lag(close, 24) over by_hour as close_24h_ago,
        lag(close, 168) over by_hour as close_168h_ago,
        count(quote_volume) over day_to_row as n_quote_volume,
        avg(quote_volume) over day_to_row as mean_quote_volume,
        count(true_range) over day_to_row as n_true_range,
        avg(true_range) over day_to_row as mean_true_range,
        count(rv_std_sqrt60) over week_to_row as n_rv,
        avg(rv_std_sqrt60) over week_to_row as mean_rv
    from ranged
    window
        by_hour as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
        ),
        day_to_row as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between 23 preceding and current row
        ),
        week_to_row as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between 167 preceding and current row
        )
),

cross_sections as (
    select
        hour_ts,
        count(*) as n_rows,
        sum(has_bar) as n_bars,
        case
            when count(quote_volume) >= 10
                then {{ exact_sum('quote_volume') }} / count(quote_volume)
        end as mean_quote_volume
    from ranged
    group by hour_ts
),

final as (
    select
        windowed.symbol,
        windowed.hour_ts,
        windowed.bar_end_time,
        windowed.feature_time,
        windowed.has_bar,
        windowed.listing_segment,
        {{ finite(safe_ln(safe_div('windowed.close', 'windowed.close_1h_ago'))) }} as returns_1h,
        {{ finite(safe_ln(safe_div('windowed.close', 'windowed.close_24h_ago'))) }}
            as returns_24h,
        {{ finite(safe_ln(safe_div('windowed.close', 'windowed.close_168h_ago'))) }}
            as returns_168h,
        {{ finite(safe_div('windowed.quote_volume', 'cross_sections.mean_quote_volume')) }}
            as relative_volume,
        {{ finite(
            'case when windowed.n_quote_volume >= 18 then '
            ~ safe_div('windowed.quote_volume', 'windowed.mean_quote_volume') ~ ' end'
        ) }} as turnover_ratio,
        {{ finite(
            'case when windowed.n_true_range >= 18 then '
            ~ safe_div(
                'windowed.rv_std_sqrt60', safe_div('windowed.mean_true_range', 'windowed.close')
            ) ~ ' end'
        ) }} as price_efficiency,
        {{ finite(
            'case when windowed.n_rv >= 126 then '
            ~ safe_div('windowed.rv_std_sqrt60', 'windowed.mean_rv') ~ ' end'
        ) }} as vol_regime,
        cast(cross_sections.n_bars as int) as cs_universe_size,
        {{ finite('cast(cross_sections.n_bars as double) / cross_sections.n_rows') }}
            as cs_coverage_frac
    from windowed
    inner join cross_sections on windowed.hour_ts = cross_sections.hour_ts
)

select * from final
