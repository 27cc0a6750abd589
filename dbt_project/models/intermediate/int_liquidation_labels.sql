{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 0}) }}

with
liquidations as (
    select * from {{ ref('int_liquidations') }}
    where
        is_hour_source
        and {{ in_reach('hour_ts') }}
),

thresholds as (
    select * from {{ ref('int_liquidation_thresholds') }}
    where {{ in_reach('hour_ts') }}
),

final as (
    select
        liquidations.symbol,
        thresholds.listing_segment,
        liquidations.source,
        liquidations.event_time,
        liquidations.available_time,
        liquidations.hour_ts,
        liquidations.liquidated_position,
        liquidations.price,
        liquidations.average_price,
        liquidations.quantity,
        {% for lb in var('liq_lb') %}
        case
            when liquidations.value > thresholds.large_lb{{ lb }} then 'large'
            when liquidations.value <= thresholds.small_lb{{ lb }} then 'small'
            when thresholds.large_lb{{ lb }} is not null then 'med'
        end as size_lb{{ lb }},
        {% endfor %}
        liquidations.value
    from liquidations
    inner join thresholds
        on
            liquidations.symbol = thresholds.symbol
            and liquidations.hour_ts = thresholds.hour_ts
)

select * from final
