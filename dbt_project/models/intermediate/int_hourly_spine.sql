{%- set silence = var('segment_silence_hours') -%}
{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 'all'}) }}

with
bars as (
    select * from {{ ref('int_bars_hourly') }}
),

horizon as (
    select * from {{ ref('int_horizon') }}
),

splits as (
    select * from {{ ref('listing_splits') }}
),

hour_offsets (hour_offset) as (
    select * from range(0, {{ var('max_segment_hours') }})
),

active_hours as (
    select
        symbol,
        hour_ts,
        lag(hour_ts) over (partition by symbol order by hour_ts nulls last) as previous_active_ts
    from bars
    where is_active
),

-- The first active hour at or after a split opens a segment of its own.
split_hours as (
    select distinct
        first_hours.symbol,
        first_hours.hour_ts
    from (
        select
            splits.symbol,
            splits.split_ts,
            min(active_hours.hour_ts) as hour_ts
        from splits
        inner join active_hours
            on
                splits.symbol = active_hours.symbol
                and splits.split_ts <= active_hours.hour_ts
        group by splits.symbol, splits.split_ts
    ) as first_hours
),

numbered as (
    select
        active_hours.symbol,
        active_hours.hour_ts,
        sum(
            case
                when active_hours.previous_active_ts is null then 1
                when split_hours.symbol is not null then 1
                when
                    active_hours.hour_ts
                    > active_hours.previous_active_ts + interval '{{ silence }}' hour
                    then 1
                else 0
            end
        ) over (
            partition by active_hours.symbol
            order by active_hours.hour_ts nulls last
            rows between unbounded preceding and current row
        ) as listing_segment
    from active_hours
    left join split_hours
        on
            active_hours.symbol = split_hours.symbol
            and active_hours.hour_ts = split_hours.hour_ts
),

-- Within a segment no silence outlasts the limit, so its rows form one unbroken run of hours.
segments as (
    select
        symbol,
        listing_segment,
        min(hour_ts) as first_ts,
        max(hour_ts) + interval '{{ silence - 1 }}' hour as last_ts
    from numbered
    group by symbol, listing_segment
),

followed as (
    select
        *,
        lead(first_ts) over (
            partition by symbol order by listing_segment nulls last
        ) as next_first_ts
    from segments
),

spans as (
    select
        followed.symbol,
        followed.listing_segment,
        followed.first_ts,
        {{ seconds_between(
            'followed.first_ts',
            "least(followed.last_ts + interval '1' hour, followed.next_first_ts, horizon.horizon_ts)"
        ) }} / 3600e0 as n_hours
    from followed
    -- without a horizon nothing is closed, so nothing is published
    inner join horizon on followed.first_ts < horizon.horizon_ts
),

hours as (
    select
        spans.symbol,
        spans.first_ts + hour_offsets.hour_offset * interval '1' hour as hour_ts,
        spans.listing_segment
    from spans
    -- only hours that end by the horizon are published: n_hours may be fractional
    inner join hour_offsets on spans.n_hours >= hour_offsets.hour_offset + 1
),

final as (
    select
        hours.symbol,
        hours.hour_ts,
        hours.hour_ts + interval '1' hour as bar_end_time,
        hours.hour_ts + interval '1' hour + interval '1' millisecond as feature_time,
        case when bars.symbol is null then 0 else 1 end as has_bar,
        cast(hours.listing_segment as int) as listing_segment,
        cast(
            count(bars.symbol) over (
                partition by hours.symbol, hours.listing_segment
                order by hours.hour_ts nulls last
                rows between unbounded preceding and current row
            ) as int
        ) as n_bars
    from hours
    left join bars
        on
            hours.symbol = bars.symbol
            and hours.hour_ts = bars.hour_ts
)

select * from final
