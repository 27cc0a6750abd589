-- Do the sources agree? Per comparison and dataset: how many hours were compared, how many are
-- equal, and the largest difference. The single hours that differ, and why, stand in
-- `reconciliation`.
select
    check_name,
    dataset,
    count(distinct symbol) as symbols,
    cast(sum(n_hours_compared) as bigint) as hours,
    cast(sum(n_hours_equal) as bigint) as equal,
    cast(sum(n_hours_different) as bigint) as different,
    cast(sum(n_hours_only_in_a) as bigint) as only_in_a,
    cast(sum(n_hours_only_in_b) as bigint) as only_in_b,
    max(max_relative_difference) as largest_relative_difference
from {{ ref('reconciliation_summary') }}
group by check_name, dataset
order by check_name nulls last, dataset nulls last
