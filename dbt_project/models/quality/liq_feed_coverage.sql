with
spine as (
    select * from {{ ref('int_hourly_spine') }}
),

hour_sources as (
    select * from {{ ref('int_liquidation_sources') }}
),

events as (
    select * from {{ ref('int_liquidations') }}
),

counts as (
    select
        symbol,
        hour_ts,
        sum(case when is_hour_source then 1 else 0 end) as n_events,
        sum(case when is_hour_source then 0 else 1 end) as n_other_events
    from events
    group by symbol, hour_ts
),

final as (
    select
        cast(spine.symbol as string) as symbol,
        cast(spine.hour_ts as timestamp) as hour_ts,
        cast(hour_sources.source is not null as boolean) as ok,
        cast(hour_sources.source as string) as source,
        cast(
            case when hour_sources.source is not null then coalesce(counts.n_events, 0) end
            as bigint
        ) as n_events,
        cast(coalesce(counts.n_other_events, 0) as bigint) as n_other_events,
        cast(coalesce(counts.n_other_events, 0) > 0 as boolean) as is_mixed
    from spine
    left join hour_sources
        on
            spine.symbol = hour_sources.symbol
            and spine.hour_ts = hour_sources.hour_ts
    left join counts
        on
            spine.symbol = counts.symbol
            and spine.hour_ts = counts.hour_ts
)

select * from final
