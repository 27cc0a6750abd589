-- How many contracts could be traded in each month, those included that are gone today? To take
-- only today's would be to choose by survival.
select
    substr(cast(cast(dataset.hour_ts as date) as string), 1, 7) as month,
    count(distinct dataset.symbol) as listed,
    count(distinct case when symbols.delisting_ts is not null then symbols.symbol end) as gone_now,
    count(distinct case when symbols.in_universe then symbols.symbol end) as in_universe,
    count(distinct case when symbols.is_name_reused then symbols.symbol end) as reused_names,
    cast(count(*) as bigint) as hours
from {{ ref('final_dataset') }} as dataset
inner join {{ ref('dim_symbols') }} as symbols on dataset.symbol = symbols.symbol
where dataset.has_bar = 1
group by substr(cast(cast(dataset.hour_ts as date) as string), 1, 7)
order by month nulls last
