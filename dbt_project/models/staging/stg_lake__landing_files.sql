{{ config(materialized='whole') }}

with
attempts as (
    select * from {{ ref('stg_lake__landing_log') }}
),

exploded as (
    select
        log_seq,
        source,
        dataset,
        symbol,
        month,
        landed_at,
        is_current,
        {{ explode('files') }} as file
    from attempts
),

final as (
    select
        exploded.log_seq,
        exploded.source,
        exploded.dataset,
        exploded.symbol,
        exploded.month,
        exploded.landed_at,
        exploded.is_current,
        exploded.file.url,
        exploded.file.period,
        length(exploded.file.period) = 7 as is_monthly,
        case
            when length(exploded.file.period) = 10 then try_cast(exploded.file.period as date)
        end as day,
        exploded.file.outcome,
        exploded.file.carried as is_carried,
        exploded.file.etag,
        exploded.file.last_modified,
        exploded.file.bytes,
        exploded.file.sha256_expected,
        exploded.file.sha256_actual,
        exploded.file.header_present as has_header,
        exploded.file.epoch_unit,
        exploded.file.rows_in,
        exploded.file.rows_out,
        exploded.file.duplicates_dropped,
        exploded.file.conflicts_dropped,
        exploded.file.out_of_period_dropped,
        exploded.file.out_of_order,
        coalesce(exploded.file.bad_rows, 0) as bad_rows,
        coalesce(exploded.file.missing_ids, 0) as missing_ids,
        cast(exploded.file.first_time as timestamp) as first_time,
        cast(exploded.file.last_time as timestamp) as last_time,
        exploded.file.attempts,
        exploded.file.error
    from exploded
)

select * from final
