{{ config(materialized='view') }}

with
snapshot as (
    select * from {{ ref('stg_vision__liquidation_snapshot') }}
),

vendor as (
    select * from {{ ref('stg_tardis__liquidations') }}
),

recorded as (
    select * from {{ ref('stg_stream__liquidations') }}
),

captured as (
    select * from {{ ref('stg_import__liquidations') }}
),

-- Files: rows that are equal in every column are one event.
from_archive as (
    select
        symbol,
        'archive' as source,
        event_time,
        cast(null as timestamp) as receive_time,
        side,
        price,
        average_price,
        accumulated_fill_quantity as quantity,
        count(*) as n_copies
    from snapshot
    group by
        symbol,
        event_time,
        side,
        order_type,
        time_in_force,
        order_status,
        price,
        average_price,
        original_quantity,
        last_fill_quantity,
        accumulated_fill_quantity
),

from_tardis as (
    select
        symbol,
        'tardis' as source,
        event_time,
        receive_time,
        side,
        price,
        average_price,
        quantity,
        count(*) as n_copies
    from vendor
    group by
        symbol,
        event_time,
        receive_time,
        event_id,
        side,
        price,
        average_price,
        quantity
),

-- The stream: an order has no id, so contract, side, time, quantity and price are its key, and of
-- several connections that bring it the first one counts.
from_stream as (
    select
        symbol,
        'stream' as source,
        event_time,
        receive_time,
        side,
        price,
        average_price,
        accumulated_fill_quantity as quantity,
        row_number() over (
            partition by symbol, side, event_time, original_quantity, price
            order by receive_time nulls last, connection nulls last
        ) as arrival,
        count(*) over (
            partition by symbol, side, event_time, original_quantity, price
        ) as n_copies
    from recorded
),

-- Captures of the stream do not know when a message arrived.
from_import as (
    select
        symbol,
        'import' as source,
        event_time,
        cast(null as timestamp) as receive_time,
        side,
        price,
        average_price,
        accumulated_fill_quantity as quantity,
        row_number() over (
            partition by symbol, side, event_time, original_quantity, price
            order by file_name nulls last
        ) as arrival,
        count(*) over (
            partition by symbol, side, event_time, original_quantity, price
        ) as n_copies
    from captured
),

united as (
    select * from from_archive
    union all
    select * from from_tardis
    {% for keyed in ('from_stream', 'from_import') %}
    union all
    select
        symbol,
        source,
        event_time,
        receive_time,
        side,
        price,
        average_price,
        quantity,
        n_copies
    from {{ keyed }}
    where arrival = 1
    {% endfor %}
),

final as (
    select
        symbol,
        source,
        event_time,
        receive_time,
        coalesce(receive_time, event_time) as available_time,
        date_trunc('hour', coalesce(receive_time, event_time)) as hour_ts,
        side,
        case side when 'SELL' then 'long' when 'BUY' then 'short' end as liquidated_position,
        price,
        average_price,
        quantity,
        quantity * coalesce(case when average_price > 0 then average_price end, price) as value,
        cast(n_copies as bigint) as n_copies
    from united
)

select * from final
