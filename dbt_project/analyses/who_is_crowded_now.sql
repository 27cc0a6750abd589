-- Where does each contract stand among all of them in the newest hour? One factor, the carry per
-- year, with its place, the share of contracts below, and its distance from the mean in standard
-- deviations. Put any other column of final_dataset in its place.
with
factor as (
    select
        symbol,
        hour_ts,
        funding_annualized as x
    from {{ ref('final_dataset') }}
),

newest as (
    select max(hour_ts) as hour_ts
    from factor
    where x is not null
)

select
    factor.hour_ts,
    factor.symbol,
    factor.x,
    rank() over (order by factor.x desc nulls last) as place,
    round(percent_rank() over (order by factor.x asc nulls last), 3) as share_below,
    round(
        (factor.x - avg(factor.x) over ()) / nullif(stddev_samp(factor.x) over (), 0), 2
    ) as z
from factor
inner join newest on factor.hour_ts = newest.hour_ts
where factor.x is not null
order by place nulls last, factor.symbol nulls last
