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
        log_seq,
        source,
        dataset,
        symbol,
        month,
        landed_at,
        is_current,
        file.url as url,
        file.period as period,
        length(file.period) = 7 as is_monthly,
        case when length(file.period) = 10 then try_cast(file.period as date) end as day,
        file.outcome as outcome,
        file.carried as is_carried,
        file.etag as etag,
        file.last_modified as last_modified,
        file.bytes as bytes,
        file.sha256_expected as sha256_expected,
        file.sha256_actual as sha256_actual,
        file.header_present as has_header,
        file.epoch_unit as epoch_unit,
        file.rows_in as rows_in,
        file.rows_out as rows_out,
        file.duplicates_dropped as duplicates_dropped,
        file.conflicts_dropped as conflicts_dropped,
        file.out_of_period_dropped as out_of_period_dropped,
        file.out_of_order as out_of_order,
        cast(file.first_time as timestamp) as first_time,
        cast(file.last_time as timestamp) as last_time,
        file.attempts as attempts,
        file.error as error
    from exploded
)

select * from final
