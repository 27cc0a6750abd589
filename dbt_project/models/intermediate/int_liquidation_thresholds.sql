{%- set small, large = var('liq_q') -%}

with
spine as (
    select * from {{ ref('int_hourly_spine') }}
),

liquidations as (
    select * from {{ ref('int_liquidations') }}
    where is_hour_source
),

-- Events and, between them, the beginnings of hours: a row without a value, at which what is before
-- it is measured.
timeline as (
    select
        spine.symbol,
        spine.listing_segment,
        liquidations.available_time as ts,
        liquidations.value,
        false as is_hour
    from liquidations
    inner join spine
        on
            liquidations.symbol = spine.symbol
            and liquidations.hour_ts = spine.hour_ts
    union all
    select
        symbol,
        listing_segment,
        hour_ts as ts,
        cast(null as double) as value,
        true as is_hour
    from spine
),

windowed as (
    select
        symbol,
        listing_segment,
        ts,
        is_hour,
        {% for lb in var('liq_lb') %}
        count(value) over before_{{ lb }} as n_lb{{ lb }},
        {{ pct('value', small) }} over before_{{ lb }} as small_lb{{ lb }},
        {{ pct('value', large) }} over before_{{ lb }} as large_lb{{ lb }}
        {{- ',' if not loop.last }}
        {% endfor %}
    from timeline
    window
        {% for lb in var('liq_lb') %}
        before_{{ lb }} as (
            partition by symbol, listing_segment
            order by ts nulls last
            range between interval '{{ lb }}' hour preceding
            and interval '1' microsecond preceding
        ){{ ',' if not loop.last }}
        {% endfor %}
),

final as (
    select
        symbol,
        listing_segment,
        ts as hour_ts,
        {% for lb in var('liq_lb') %}
        {% set enough = 'n_lb' ~ lb ~ ' >= ' ~ var('liq_min_events') %}
        cast(n_lb{{ lb }} as int) as n_lb{{ lb }},
        case when {{ enough }} then small_lb{{ lb }} end as small_lb{{ lb }},
        case when {{ enough }} then large_lb{{ lb }} end as large_lb{{ lb }}
        {{- ',' if not loop.last }}
        {% endfor %}
    from windowed
    where is_hour
)

select * from final
