{{ config(materialized='view') }}

with
dataset as (
    select * from {{ ref('final_dataset') }}
),

metrics as (
    select
        symbol,
        hour_ts
    from {{ ref('int_metrics_complete_hourly') }}
    where is_complete
),

final as (
    select {{ own_columns('dataset') }}
    from dataset
    inner join metrics
        on
            dataset.symbol = metrics.symbol
            and dataset.hour_ts = metrics.hour_ts
)

select * from final -- noqa: AM04
