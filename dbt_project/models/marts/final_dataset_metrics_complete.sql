with
dataset as (
    select * from {{ ref('final_dataset') }}
),

last_hours as (
    select
        symbol,
        max(hour_ts) as last_hour_ts,
        max(case when oi_open_interest is not null then hour_ts end) as last_metrics_ts
    from dataset
    group by symbol
),

complete_symbols as (
    select symbol
    from last_hours
    where
        last_hour_ts
        <= last_metrics_ts + interval '{{ var('metrics_end_tolerance_hours') }}' hour
),

final as (
    select dataset.*
    from dataset
    inner join complete_symbols on dataset.symbol = complete_symbols.symbol
)

select * from final
