with
source as (
    select * from {{ source('vision', 'metrics') }}
),

typed as (
    select
        cast(symbol as string) as symbol,
        cast(month as string) as month,
        cast(file_date as date) as file_date,
        cast(file_row as bigint) as file_row,
        cast(create_time as timestamp) as create_time,
        date_trunc('hour', cast(create_time as timestamp))
        + 5 * cast(floor(extract(minute from create_time) / 5e0) as int) * interval '1' minute
            as bucket_ts,
        case
            when sum_open_interest > 0 then {{ finite('sum_open_interest') }}
        end as open_interest,
        case
            when sum_open_interest_value > 0 then {{ finite('sum_open_interest_value') }}
        end as open_interest_usd,
        nullif({{ finite('sum_toptrader_long_short_ratio') }}, 0) as toptrader_position_ratio,
        nullif({{ finite('count_toptrader_long_short_ratio') }}, 0) as toptrader_account_ratio,
        nullif({{ finite('count_long_short_ratio') }}, 0) as global_account_ratio,
        {{ finite('sum_taker_long_short_vol_ratio') }} as taker_vol_ratio,
        coalesce(sum_open_interest = 0, false) as is_zero_open_interest,
        coalesce(sum_open_interest_value = 0, false) as is_zero_open_interest_usd
    from source
),

ranked as (
    select
        *,
        {{ metrics_rank('symbol, month, bucket_ts') }} as bucket_rank
    from typed
),

final as (
    select
        symbol,
        month,
        file_date,
        file_row,
        create_time,
        bucket_ts,
        date_trunc('hour', bucket_ts) as hour_ts,
        case
            when file_date >= date '{{ var("metrics_start_labels_from") }}'
                then bucket_ts + interval '5' minute
            else bucket_ts
        end as period_end_ts,
        open_interest,
        open_interest_usd,
        toptrader_position_ratio,
        toptrader_account_ratio,
        global_account_ratio,
        taker_vol_ratio,
        is_zero_open_interest,
        is_zero_open_interest_usd,
        bucket_rank = 1 as is_bucket_pick
    from ranked
)

select * from final
