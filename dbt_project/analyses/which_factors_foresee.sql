-- Which factors order the contracts by what they do next? Mean rank correlation over the months that are
-- known whole, the largest first. Hundreds of factors were tried: a t-value of 3 is nothing special here.
select
    factor,
    horizon_hours,
    count(*) as months,
    cast(sum(n_hours) as bigint) as hours,
    round(avg(mean_n_symbols), 1) as symbols,
    round(sum(mean_ic * n_hours) / sum(n_hours), 4) as mean_ic,
    round(min(mean_ic), 4) as worst_month,
    round(max(mean_ic), 4) as best_month,
    round(sum(t_value * sqrt(n_hours)) / sqrt(sum(n_hours)), 2) as t_value
from {{ ref('factor_ic') }}
where
    n_hours > 0
    and known_at <= (select max(bar_end_time) from {{ ref('hourly_bars') }})
group by factor, horizon_hours
order by abs(sum(mean_ic * n_hours) / sum(n_hours)) desc nulls last, factor nulls last, horizon_hours nulls last
limit 30
