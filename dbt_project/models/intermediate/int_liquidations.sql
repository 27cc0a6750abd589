with
events as (
    select * from {{ ref('int_liquidation_events') }}
),

hour_sources as (
    select * from {{ ref('int_liquidation_sources') }}
),

final as (
    select
        events.symbol,
        events.source,
        events.event_time,
        events.receive_time,
        events.available_time,
        events.hour_ts,
        events.side,
        events.liquidated_position,
        events.price,
        events.average_price,
        events.quantity,
        events.value,
        events.n_copies,
        hour_sources.symbol is not null as is_hour_source
    from events
    left join hour_sources
        on
            events.symbol = hour_sources.symbol
            and events.hour_ts = hour_sources.hour_ts
            and events.source = hour_sources.source
)

select * from final
