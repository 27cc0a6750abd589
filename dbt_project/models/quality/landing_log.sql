with
attempts as (
    select * from {{ ref('stg_lake__landing_log') }}
),

files as (
    select * from {{ ref('stg_lake__landing_files') }}
),

file_counts as (
    select
        log_seq,
        sum(case when outcome = 'landed' then 1 else 0 end) as n_files_landed,
        sum(case when outcome = 'quarantined' then 1 else 0 end) as n_files_quarantined,
        sum(case when outcome = 'failed' then 1 else 0 end) as n_files_failed,
        sum(case when outcome = 'absent_upstream' then 1 else 0 end) as n_files_absent
    from files
    group by log_seq
),

final as (
    select
        cast(attempts.log_seq as string) as log_seq,
        cast(attempts.source as string) as source,
        cast(attempts.dataset as string) as dataset,
        cast(attempts.symbol as string) as symbol,
        cast(attempts.month as string) as month,
        cast(attempts.status as string) as status,
        cast(attempts.is_current as boolean) as is_current,
        cast(attempts.landed_at as timestamp) as landed_at,
        cast(attempts.first_day as date) as first_day,
        cast(attempts.last_day as date) as last_day,
        cast(coalesce(file_counts.n_files_landed, 0) as int) as n_files_landed,
        cast(coalesce(file_counts.n_files_quarantined, 0) as int) as n_files_quarantined,
        cast(coalesce(file_counts.n_files_failed, 0) as int) as n_files_failed,
        cast(coalesce(file_counts.n_files_absent, 0) as int) as n_files_absent,
        cast(attempts.rows_in as bigint) as rows_in,
        cast(attempts.rows_out as bigint) as rows_out,
        cast(attempts.duplicates_dropped as bigint) as duplicates_dropped,
        cast(attempts.conflicts_dropped as bigint) as conflicts_dropped,
        cast(attempts.out_of_period_dropped as bigint) as out_of_period_dropped,
        cast(attempts.overlap_dropped as bigint) as overlap_dropped,
        cast(attempts.overlap_conflicts as bigint) as overlap_conflicts,
        cast(attempts.out_of_order as bigint) as out_of_order,
        cast(attempts.bad_rows as bigint) as bad_rows,
        cast(attempts.missing_ids as bigint) as missing_ids,
        cast(
            coalesce({{ vector_size('attempts.uncovered_days') }}, 0) as int
        ) as n_uncovered_days,
        cast(coalesce({{ vector_size('attempts.covered') }}, 0) as int) as n_covered_spans,
        cast(attempts.first_time as timestamp) as first_time,
        cast(attempts.last_time as timestamp) as last_time,
        cast(attempts.n_gaps as bigint) as n_gaps,
        cast(attempts.parquet_bytes as bigint) as parquet_bytes,
        cast(attempts.parquet_sha256 as string) as parquet_sha256,
        cast(attempts.parser_version as int) as parser_version,
        cast(attempts.error as string) as error
    from attempts
    left join file_counts on attempts.log_seq = file_counts.log_seq
)

select * from final
