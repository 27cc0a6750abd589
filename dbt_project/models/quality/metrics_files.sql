{{ config(materialized='monthly', partition_by='month') }}

{#- Open interest value divided by open interest is a price. The moment whose price it is tells
    whether a file labels its rows by the end or by the start of the five minutes. -#}
with
metrics as (
    select * from {{ ref('stg_vision__metrics') }}
    where {{ in_batch('month') }}
),

minutes as (
    select * from {{ ref('stg_vision__klines_1m') }}
    where
        minute_of_hour % 5 = 0
        and {{ in_batch('month') }}
),

defects as (
    select
        symbol,
        file_date,
        count(*) as n_rows,
        sum(case when create_time <> bucket_ts then 1 else 0 end) as n_off_grid,
        sum(case when is_bucket_pick then 0 else 1 end) as n_not_picked,
        sum(case when is_zero_open_interest then 1 else 0 end) as n_zero_open_interest,
        sum(
            case when is_zero_open_interest_usd and not is_zero_open_interest then 1 else 0 end
        ) as n_zero_value_only,
        sum(case when toptrader_position_ratio is null then 1 else 0 end) as n_no_position_ratio,
        sum(case when toptrader_account_ratio is null then 1 else 0 end) as n_no_account_ratio,
        sum(case when global_account_ratio is null then 1 else 0 end) as n_no_global_ratio,
        sum(case when taker_vol_ratio is null then 1 else 0 end) as n_no_taker_ratio
    from metrics
    group by symbol, file_date
),

implied as (
    select
        symbol,
        file_date,
        bucket_ts,
        {{ safe_div('open_interest_usd', 'open_interest') }} as price
    from metrics
    where is_bucket_pick
),

compared as (
    select
        implied.symbol,
        implied.file_date,
        abs({{ safe_ln('implied.price / at_label.open') }}) as error_at_label,
        abs({{ safe_ln('implied.price / after_label.open') }}) as error_after_label
    from implied
    left join minutes as at_label
        on
            implied.symbol = at_label.symbol
            and implied.bucket_ts = at_label.open_time
    left join minutes as after_label
        on
            implied.symbol = after_label.symbol
            and implied.bucket_ts + interval '5' minute = after_label.open_time
),

measured as (
    select
        symbol,
        file_date,
        sum(
            case when error_at_label is not null and error_after_label is not null then 1 else 0 end
        ) as n_compared,
        avg(case when error_after_label is not null then error_at_label end) as error_at_label,
        avg(case when error_at_label is not null then error_after_label end) as error_after_label
    from compared
    group by symbol, file_date
),

final as (
    select
        cast(defects.symbol as string) as symbol,
        cast(defects.file_date as date) as file_date,
        cast(defects.n_rows as int) as n_rows,
        cast(defects.n_off_grid as int) as n_off_grid,
        cast(defects.n_not_picked as int) as n_not_picked,
        cast(defects.n_zero_open_interest as int) as n_zero_open_interest,
        cast(defects.n_zero_value_only as int) as n_zero_value_only,
        cast(defects.n_no_position_ratio as int) as n_no_position_ratio,
        cast(defects.n_no_account_ratio as int) as n_no_account_ratio,
        cast(defects.n_no_global_ratio as int) as n_no_global_ratio,
        cast(defects.n_no_taker_ratio as int) as n_no_taker_ratio,
        cast(coalesce(measured.n_compared, 0) as int) as n_prices_compared,
        cast(measured.error_at_label as double) as price_error_at_label,
        cast(measured.error_after_label as double) as price_error_after_label,
        cast(
            case
                when coalesce(measured.n_compared, 0) < 12 then 'undetermined'
                when measured.error_at_label < 0.8e0 * measured.error_after_label then 'period_end'
                when
                    measured.error_after_label < 0.8e0 * measured.error_at_label
                    then 'period_start'
                else 'undetermined'
            end as string
        ) as label_convention
    from defects
    left join measured
        on
            defects.symbol = measured.symbol
            and defects.file_date = measured.file_date
)

select * from final
