{%- set small, large = var('liq_q') -%}
{{ config(
    materialized='hourly',
    partition_by='month',
    meta={'hours_before': var('liq_lb') | max}
) }}

with
spine as (
    select * from {{ ref('int_hourly_spine') }}
    where {{ in_reach('hour_ts') }}
),

liquidations as (
    select * from {{ ref('int_liquidations') }}
    where
        is_hour_source
        and {{ in_reach('hour_ts') }}
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
        {% for lb in var('liq_lb') %}
        {% set before %}
            partition by symbol, listing_segment
            order by ts nulls last
            range between interval '{{ lb * 3600 }}' second preceding
            and interval '0.000001' second preceding
        {% endset %}
        count(value) over ({{ before }}) as n_lb{{ lb }},
        {{ pct('value', small) }} over ({{ before }}) as small_lb{{ lb }},
        {{ pct('value', large) }} over ({{ before }}) as large_lb{{ lb }},
        {% endfor %}
        is_hour
    from timeline
),

final as (
    select
        symbol,
        listing_segment,
        {% for lb in var('liq_lb') %}
        {% set enough = 'n_lb' ~ lb ~ ' >= ' ~ var('liq_min_events') %}
        cast(n_lb{{ lb }} as int) as n_lb{{ lb }},
        case when {{ enough }} then small_lb{{ lb }} end as small_lb{{ lb }},
        case when {{ enough }} then large_lb{{ lb }} end as large_lb{{ lb }},
        {% endfor %}
        ts as hour_ts
    from windowed
    where is_hour
)

select * from final
