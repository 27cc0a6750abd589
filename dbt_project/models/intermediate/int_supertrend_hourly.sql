{#- The state of a bar needs the state of the bar before, which no window function can give. Spark 3
    has no recursive queries: there a Python model, a pandas function per symbol and listing segment
    that walks the rows of `numbered`, stands in for `states`. -#}
{%- set n = var('st_n') -%}
{%- set k = 'cast(' ~ var('st_k') ~ ' as double)' -%}
{{ config(materialized='hourly', meta={'hours_before': 'all'}) }}

with recursive
bars as (
    select * from {{ ref('hourly_bars') }}
),

numbered as materialized (
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

-- One step takes every segment one bar on. Up to bar n the range is a plain mean, since bar i then
-- moves it by 1/i, and the bands have no memory: bar n is the first that counts.
states as (
    select
        symbol,
        listing_segment,
        hour_ts,
        bar_number,
        close,
        true_range as atr,
        middle + {{ k }} * true_range as upper_band,
        middle - {{ k }} * true_range as lower_band,
        side_of_middle as direction,
        0 as previous_direction
    from numbered
    where bar_number = 1
    union all
    select
        symbol,
        listing_segment,
        hour_ts,
        bar_number,
        close,
        atr,
        upper_band,
        lower_band,
        case
            when bar_number <= {{ n }} then side_of_middle
            when previous_direction = 1 and close < lower_band then -1
            when previous_direction = -1 and close > upper_band then 1
            else previous_direction
        end as direction,
        previous_direction
    from (
        select
            symbol,
            listing_segment,
            hour_ts,
            bar_number,
            close,
            atr,
            side_of_middle,
            previous_direction,
            case
                when
                    bar_number <= {{ n }}
                    or middle + {{ k }} * atr < previous_upper_band
                    or previous_close > previous_upper_band
                    then middle + {{ k }} * atr
                else previous_upper_band
            end as upper_band,
            case
                when
                    bar_number <= {{ n }}
                    or middle - {{ k }} * atr > previous_lower_band
                    or previous_close < previous_lower_band
                    then middle - {{ k }} * atr
                else previous_lower_band
            end as lower_band
        from (
            select
                numbered.symbol,
                numbered.listing_segment,
                numbered.hour_ts,
                numbered.bar_number,
                numbered.close,
                numbered.middle,
                numbered.side_of_middle,
                states.close as previous_close,
                states.upper_band as previous_upper_band,
                states.lower_band as previous_lower_band,
                states.direction as previous_direction,
                states.atr
                + (numbered.true_range - states.atr) / least(numbered.bar_number, {{ n }}) as atr
            from states
            inner join numbered
                on
                    states.symbol = numbered.symbol
                    and states.listing_segment = numbered.listing_segment
                    and states.bar_number + 1 = numbered.bar_number
        ) as moved
    ) as banded
),

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
