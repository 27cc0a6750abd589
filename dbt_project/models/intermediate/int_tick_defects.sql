with
in_hours as (
    select * from {{ ref('int_tick_defects_in_hours') }}
    where reason <> 'none'
),

tape as (
    select * from {{ ref('int_order_flow_hourly') }}
),

file_days as (
    select * from {{ ref('int_file_days') }}
    where dataset = 'agg_trades_1m'
),

horizon as (
    select * from {{ ref('int_horizon') }}
),

followed as (
    select
        symbol,
        first_transact_time,
        first_agg_trade_id,
        lag(last_transact_time) over (
            partition by symbol order by hour_ts nulls last
        ) as previous_time,
        lag(last_agg_trade_id) over (
            partition by symbol order by hour_ts nulls last
        ) as previous_id
    from tape
),

-- From the last trade of an hour to the first one of the next hour on the tape, the turn of a month
-- included.
between_hours as (
    select
        symbol,
        case
            when first_agg_trade_id > previous_id then 'missing_ids' else 'ids_restart'
        end as reason,
        previous_time as defect_start,
        first_transact_time as defect_end,
        case
            when first_agg_trade_id > previous_id then first_agg_trade_id - previous_id - 1
        end as n_ticks
    from followed
    where first_agg_trade_id <> previous_id + 1
),

numbered_days as (
    select
        symbol,
        day,
        row_number() over (partition by symbol order by day nulls last) as day_number
    from file_days
),

-- Ids that jump over a day without a file say no more than that the file is missing.
between_files as (
    select
        between_hours.symbol,
        between_hours.reason,
        between_hours.defect_start,
        between_hours.defect_end,
        between_hours.n_ticks
    from between_hours
    left join numbered_days as days_before
        on
            between_hours.symbol = days_before.symbol
            and cast(between_hours.defect_start as date) = days_before.day
    left join numbered_days as days_after
        on
            between_hours.symbol = days_after.symbol
            and cast(between_hours.defect_end as date) = days_after.day
    where
        between_hours.reason = 'ids_restart'
        or {{ seconds_between(
            "date_trunc('day', between_hours.defect_start)",
            "date_trunc('day', between_hours.defect_end)"
        ) }} = 86400 * (days_after.day_number - days_before.day_number)
),

united as (
    select
        symbol,
        reason,
        defect_start,
        defect_end,
        n_ticks
    from in_hours
    union all
    select * from between_files
),

final as (
    select
        united.symbol,
        united.reason,
        united.defect_start,
        united.defect_end,
        cast(united.n_ticks as bigint) as n_ticks
    from united
    inner join horizon on united.defect_end <= horizon.horizon_ts
)

select * from final
