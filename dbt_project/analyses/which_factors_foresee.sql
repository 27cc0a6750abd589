-- Which factors order the contracts by what they do next? Mean rank correlation over the months
-- whose returns are all known, the largest first. Hundreds of factors were tried: a t-value of 3
-- is nothing special here, and a few hours say nothing.
with
newest as (
    select max(bar_end_time) as bar_end_time
    from {{ ref('hourly_bars') }}
),

known as (
    select ic.*
    from {{ ref('factor_ic') }} as ic
    cross join newest
    where ic.known_at <= newest.bar_end_time
)

select
    factor,
    horizon_hours,
    count(*) as months,
    cast(sum(n_hours) as bigint) as hours,
    round(avg(mean_n_symbols), 1) as symbols,
    round(min(mean_ic), 4) as lowest_month,
    round(max(mean_ic), 4) as highest_month,
    round(sum(t_value * sqrt(n_hours)) / sqrt(sum(n_hours)), 2) as t_value,
    round(sum(mean_ic * n_hours) / sum(n_hours), 4) as mean_ic_of_all
from known
group by factor, horizon_hours
having sum(n_hours) >= 500
order by abs(mean_ic_of_all) desc nulls last, factor asc nulls last, horizon_hours asc nulls last
limit 30
