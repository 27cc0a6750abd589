with
files as (
    select * from {{ ref('stg_lake__landing_files') }}
),

versions as (
    select
        *,
        lag(sha256_actual) over (
            partition by url order by log_seq nulls last
        ) as previous_sha256,
        lag(last_modified) over (
            partition by url order by log_seq nulls last
        ) as previous_last_modified
    from files
    where
        source = 'vision'
        and not is_carried
        and outcome = 'landed'
),

final as (
    select
        dataset,
        symbol,
        cast(
            case when is_monthly then period || '-01' else period end as timestamp
        ) as period_start,
        landed_at,
        url
        || ': sha256 ' || previous_sha256
        || ' (' || coalesce(previous_last_modified, 'undated') || ') became ' || sha256_actual
        || ' (' || coalesce(last_modified, 'undated') || ')' as detail
    from versions
    where sha256_actual <> previous_sha256
)

select * from final
