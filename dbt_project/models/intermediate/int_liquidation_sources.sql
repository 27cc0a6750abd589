{#- in order of preference -#}
{%- set sources = ['archive', 'tardis', 'stream', 'import'] -%}

{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 0}) }}

with
spine as (
    select * from {{ ref('int_hourly_spine') }}
    where {{ in_reach('hour_ts') }}
),

file_days as (
    select * from {{ ref('int_file_days') }}
    where dataset = 'liquidation_snapshot'
),

feed_spans as (
    select * from {{ ref('int_feed_spans') }}
    where dataset = 'liquidations'
),

hour_offsets (hour_offset) as (
    select * from range(0, {{ var('max_segment_hours') }})
),

-- Whole hours only: an hour that a span enters or leaves in its course is not covered.
spans as (
    select
        'archive' as source,
        symbol,
        cast(day as timestamp) as first_ts,
        24 as n_hours
    from file_days
    union all
    select
        source,
        symbol,
        date_trunc('hour', span_start + interval '1' hour - interval '1' microsecond) as first_ts,
        {{ seconds_between(
            "date_trunc('hour', span_start + interval '1' hour - interval '1' microsecond)",
            "date_trunc('hour', span_end)"
        ) }} / 3600 as n_hours
    from feed_spans
),

hours as (
    select
        spans.symbol,
        spans.first_ts + hour_offsets.hour_offset * interval '1' hour as hour_ts,
        case spans.source
            {% for source in sources %}
            when '{{ source }}' then {{ loop.index }}
            {% endfor %}
        end as source_rank
    from spans
    inner join hour_offsets on spans.n_hours > hour_offsets.hour_offset
),

-- What covers the whole market covers every contract.
covered as (
    select
        spine.symbol,
        spine.listing_segment,
        spine.hour_ts,
        hours.source_rank
    from spine
    inner join hours
        on
            spine.symbol = hours.symbol
            and spine.hour_ts = hours.hour_ts
    union all
    select
        spine.symbol,
        spine.listing_segment,
        spine.hour_ts,
        hours.source_rank
    from spine
    inner join hours on spine.hour_ts = hours.hour_ts
    where hours.symbol = '_market'
),

final as (
    select
        symbol,
        listing_segment,
        hour_ts,
        case min(source_rank)
            {% for source in sources %}
            when {{ loop.index }} then '{{ source }}'
            {% endfor %}
        end as source
    from covered
    group by symbol, listing_segment, hour_ts
)

select * from final
