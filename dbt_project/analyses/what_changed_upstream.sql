-- Which files did upstream replace after they had landed, and which cannot be trusted? Of the
-- first kind the newer edition has landed; the others wait until upstream mends them.
with
editions as (
    select
        dataset,
        symbol,
        period,
        outcome,
        error,
        landed_at,
        is_current,
        sha256_actual,
        lag(sha256_actual) over (
            partition by source, dataset, symbol, period order by log_seq nulls last
        ) as sha256_before
    from {{ ref('landing_files') }}
    where
        source = 'vision'
        and not is_carried
)

select
    case when outcome = 'landed' then 'replaced' else outcome end as what,
    dataset,
    symbol,
    period,
    landed_at,
    sha256_before,
    sha256_actual,
    error
from editions
where
    (outcome = 'landed' and sha256_actual <> sha256_before)
    or (outcome in ('quarantined', 'failed') and is_current)
order by what nulls last, dataset nulls last, symbol nulls last, period nulls last
