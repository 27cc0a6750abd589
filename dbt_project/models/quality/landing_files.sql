with
files as (
    select * from {{ ref('stg_lake__landing_files') }}
),

final as (
    select
        cast(log_seq as string) as log_seq,
        cast(source as string) as source,
        cast(dataset as string) as dataset,
        cast(symbol as string) as symbol,
        cast(month as string) as month,
        cast(period as string) as period,
        cast(url as string) as url,
        cast(outcome as string) as outcome,
        cast(is_carried as boolean) as is_carried,
        cast(is_current as boolean) as is_current,
        cast(landed_at as timestamp) as landed_at,
        cast(etag as string) as etag,
        cast(last_modified as string) as last_modified,
        cast(bytes as bigint) as bytes,
        cast(sha256_expected as string) as sha256_expected,
        cast(sha256_actual as string) as sha256_actual,
        cast(has_header as boolean) as has_header,
        cast(epoch_unit as string) as epoch_unit,
        cast(rows_in as bigint) as rows_in,
        cast(rows_out as bigint) as rows_out,
        cast(duplicates_dropped as bigint) as duplicates_dropped,
        cast(conflicts_dropped as bigint) as conflicts_dropped,
        cast(out_of_period_dropped as bigint) as out_of_period_dropped,
        cast(out_of_order as bigint) as out_of_order,
        cast(bad_rows as bigint) as bad_rows,
        cast(missing_ids as bigint) as missing_ids,
        cast(attempts as int) as attempts,
        cast(error as string) as error
    from files
)

select * from final
