{#- The state of a bar needs the state of the bar before, which no window function can give. -#}
{%- set n = var('st_n') -%}
{%- set k = 'cast(' ~ var('st_k') ~ ' as double)' -%}
{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 'all'}) }}

with recursive
bars as (
    select * from {{ ref('hourly_bars') }}
),

numbered as {{ materialized() }} (
    select
        symbol,
        listing_segment,
        hour_ts,
        close,
        (high + low) / 2e0 as middle,
        case when close >= (high + low) / 2e0 then 1 else -1 end as side_of_middle,
        greatest(
            high - low,
            abs(high - lag(close) over by_bar),
            abs(low - lag(close) over by_bar)
        ) as true_range,
        cast(row_number() over by_bar as int) as bar_number
    from bars
    where has_bar = 1
    window
        by_bar as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
        )
),

-- Up to bar n the range is a plain mean, since bar i then moves it by 1/i, and the bands have no
-- memory: bar n is the first that counts.
{{ supertrend_states('numbered', n, k) }},

final as (
    select
        symbol,
        hour_ts,
        listing_segment,
        bar_number,
        case when bar_number >= {{ n }} then atr end as atr,
        case when bar_number >= {{ n }} then upper_band end as upper_band,
        case when bar_number >= {{ n }} then lower_band end as lower_band,
        case when bar_number >= {{ n }} then direction end as direction,
        case
            when bar_number = {{ n }} then 0
            when bar_number > {{ n }} then cast((direction - previous_direction) / 2e0 as int)
        end as flip
    from states
)

select * from final
