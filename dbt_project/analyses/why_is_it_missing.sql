-- Every hole in the lake has a reason. Which ones matter for the datasets that factors are made of?
select
    dataset,
    reason,
    count(distinct symbol) as symbols,
    count(*) as gaps,
    cast(sum(n_slots) as bigint) as slots,
    min(gap_start) as first_gap,
    max(gap_end) as last_gap
from {{ ref('gaps') }}
where
    dataset in ('klines_1m', 'mark_price_klines_1m', 'metrics', 'funding_rate')
    and reason <> 'before_listing'
group by dataset, reason
order by dataset asc nulls last, slots desc nulls last
