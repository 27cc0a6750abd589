{%- set hours = var('metrics_complete_hours') -%}
{{ config(
    materialized='hourly',
    partition_by='month',
    meta={'hours_before': var('metrics_complete_hours')}
) }}

with
spine as (
    select * from {{ ref('int_hourly_spine') }}
    where {{ in_reach('hour_ts') }}
),

slots as (
    select * from {{ ref('int_grid_hours') }}
    where
        dataset = 'metrics'
        and {{ in_reach('hour_ts') }}
),

datasets as (
    select * from {{ ref('datasets') }}
    where dataset = 'metrics'
),

counted as (
    select
        spine.symbol,
        spine.hour_ts,
        spine.listing_segment,
        60 / datasets.slot_minutes as n_expected,
        coalesce(slots.n_present, 0) as n_present
    from spine
    cross join datasets
    left join slots
        on
            spine.symbol = slots.symbol
            and spine.hour_ts = slots.hour_ts
),

windowed as (
    select
        symbol,
        hour_ts,
        sum(n_expected) over hours_to_row as n_expected,
        sum(n_present) over hours_to_row as n_present
    from counted
    window
        hours_to_row as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between {{ hours - 1 }} preceding and current row
        )
),

final as (
    select
        symbol,
        hour_ts,
        cast(n_expected as int) as n_expected,
        cast(n_present as int) as n_present,
        n_present >= {{ var('metrics_complete_share') }} * n_expected as is_complete
    from windowed
)

select * from final
