with
events as (
    select
        *,
        -- settle_time is a whole minute, so 59 minutes lift it to the next full hour or leave it
        date_trunc('hour', settle_time + interval '59' minute) as effective_ts
    from {{ ref('int_funding_events') }}
),

spine as (
    select * from {{ ref('int_hourly_spine') }}
),

placed as (
    select
        events.symbol,
        spine.listing_segment,
        events.settle_time,
        events.effective_ts,
        events.funding_rate,
        events.funding_interval_hours as stated_interval_hours,
        events.source,
        {{ seconds_between(
            'lag(events.settle_time) over (
                partition by events.symbol, spine.listing_segment
                order by events.settle_time nulls last
            )',
            'events.settle_time'
        ) }} / 3600e0 as spacing_hours
    from events
    inner join spine
        on
            events.symbol = spine.symbol
            and events.effective_ts = spine.hour_ts
),

timed as (
    select
        *,
        coalesce(
            stated_interval_hours,
            case
                when spacing_hours <= 1 then 1
                when spacing_hours <= 2 then 2
                when spacing_hours <= 4 then 4
                when spacing_hours > 4 then 8
            end
        ) as funding_interval_hours
    from placed
),

annualized as (
    select
        *,
        funding_rate * 8760e0 / nullif(funding_interval_hours, 0) as funding_annualized
    from timed
),

final as (
    select
        symbol,
        listing_segment,
        settle_time,
        effective_ts,
        funding_rate,
        cast(funding_interval_hours as int) as funding_interval_hours,
        funding_annualized,
        source,
        funding_annualized - lag(funding_annualized) over (
            partition by symbol, listing_segment order by settle_time nulls last
        ) as funding_delta_settle
    from annualized
)

select * from final
