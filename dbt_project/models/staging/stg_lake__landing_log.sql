{{ config(materialized='whole') }}

with
source as (
    select * from {{ source('lake', 'landing_log') }}
),

final as (
    select
        log_seq,
        source,
        dataset,
        symbol,
        month,
        status,
        cast(first_day as date) as first_day,
        cast(last_day as date) as last_day,
        files,
        rows_in,
        rows_out,
        duplicates_dropped,
        conflicts_dropped,
        out_of_period_dropped,
        overlap_dropped,
        overlap_conflicts,
        coalesce(out_of_order, 0) as out_of_order,
        coalesce(bad_rows, 0) as bad_rows,
        coalesce(missing_ids, 0) as missing_ids,
        uncovered_days,
        covered,
        cast(first_time as timestamp) as first_time,
        cast(last_time as timestamp) as last_time,
        gaps as n_gaps,
        parquet_bytes,
        parquet_sha256,
        parser_version,
        error,
        cast(landed_at as timestamp) as landed_at,
        row_number() over (
            partition by source, dataset, symbol, month order by log_seq desc nulls last
        ) = 1 as is_current
    from source
    where status is not null
)

select * from final
