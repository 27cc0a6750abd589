{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 0}) }}

with
buckets as (
    select * from {{ ref('int_metrics') }}
    where {{ in_reach('bucket_ts') }}
),

-- Only the last three labels of an hour are fresh enough for it, and nothing is carried further.
fresh as (
    select *
    from buckets
    where extract(minute from bucket_ts) >= 45
),

last_values as (
    select
        symbol,
        hour_ts,
        {{ latest('open_interest', 'bucket_ts') }} as open_interest,
        {{ latest('open_interest_usd', 'bucket_ts') }} as open_interest_usd,
        {{ latest('toptrader_position_ratio', 'bucket_ts') }} as toptrader_position_ratio,
        {{ latest('toptrader_account_ratio', 'bucket_ts') }} as toptrader_account_ratio,
        {{ latest('global_account_ratio', 'bucket_ts') }} as global_account_ratio,
        {{ latest('taker_vol_ratio', 'bucket_ts') }} as taker_vol_ratio,
        {{ latest('open_interest_source', 'bucket_ts') }} as open_interest_source,
        max(case when open_interest is not null then bucket_ts end) as open_interest_bucket_ts
    from fresh
    group by symbol, hour_ts
),

final as (
    select
        symbol,
        hour_ts,
        open_interest,
        open_interest_usd,
        cast(
            60 - extract(minute from open_interest_bucket_ts) as int
        ) as open_interest_age_minutes,
        open_interest_source,
        toptrader_position_ratio,
        toptrader_account_ratio,
        global_account_ratio,
        taker_vol_ratio
    from last_values
)

select * from final
