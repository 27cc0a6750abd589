{#- The common table expression `states`: what each of `bars`, numbered by segment, makes of the state before. -#}
{% macro supertrend_states(bars, n, k) %}
    {{- return(adapter.dispatch('supertrend_states')(bars, n, k)) -}}
{% endmacro %}

{#- One step takes every segment one bar on. -#}
{% macro default__supertrend_states(bars, n, k) -%}
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
    from {{ bars }}
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
            inner join {{ bars }} as numbered
                on
                    states.symbol = numbered.symbol
                    and states.listing_segment = numbered.listing_segment
                    and states.bar_number + 1 = numbered.bar_number
        ) as moved
    ) as banded
)
{%- endmacro %}

{#- A recursion would be a job per bar. Here each segment walks by itself along the array of its bars. -#}
{% macro spark__supertrend_states(bars, n, k) -%}
states as (
    select
        symbol,
        listing_segment,
        inline(aggregate(
            bars,
            cast(array() as array<struct<
                hour_ts: timestamp, bar_number: int, close: double, atr: double, upper_band: double,
                lower_band: double, direction: int, previous_direction: int
            >>),
            (walked, bar) -> concat(walked, array({{ vector_let(
                vector_item('walked', 'size(walked)'), 'before', vector_let(
                    'case when bar.bar_number = 1 then bar.true_range else before.atr + '
                    ~ '(bar.true_range - before.atr) / least(bar.bar_number, ' ~ n ~ ') end',
                    'atr',
                    vector_let(
                        supertrend_band('<', '+', n, k), 'upper_band', vector_let(
                            supertrend_band('>', '-', n, k), 'lower_band', supertrend_state(n)
                        )
                    )
                )
            ) }}))
        )) as (
            hour_ts, bar_number, close, atr, upper_band, lower_band, direction, previous_direction
        )
    from (
        select
            symbol,
            listing_segment,
            array_sort(collect_list(
                struct(bar_number, hour_ts, close, middle, side_of_middle, true_range)
            )) as bars
        from {{ bars }}
        group by symbol, listing_segment
    )
)
{%- endmacro %}

{% macro supertrend_band(is_nearer, sign, n, k) -%}
    {%- set band = 'bar.middle ' ~ sign ~ ' ' ~ k ~ ' * atr' -%}
    {%- set before = 'before.upper_band' if sign == '+' else 'before.lower_band' -%}
    {%- set is_through = '>' if sign == '+' else '<' -%}
    case
        when
            bar.bar_number <= {{ n }}
            or {{ band }} {{ is_nearer }} {{ before }}
            or before.close {{ is_through }} {{ before }}
            then {{ band }}
        else {{ before }}
    end
{%- endmacro %}

{% macro supertrend_state(n) -%}
    struct(
        bar.hour_ts,
        bar.bar_number,
        bar.close,
        atr,
        upper_band,
        lower_band,
        case
            when bar.bar_number <= {{ n }} then bar.side_of_middle
            when before.direction = 1 and bar.close < lower_band then -1
            when before.direction = -1 and bar.close > upper_band then 1
            else before.direction
        end as direction,
        coalesce(before.direction, 0) as previous_direction
    )
{%- endmacro %}
