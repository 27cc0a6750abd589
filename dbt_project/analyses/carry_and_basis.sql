-- What does holding each contract cost, and what does leverage pay for it? Per symbol, on hours fit
-- for training: mean funding per year, funding paid per day, mean basis to the index.
select
    symbol,
    count(*) as hours,
    round(avg(funding_annualized), 4) as funding_per_year,
    round(avg(funding_paid_24h) * 1e4, 2) as funding_paid_24h_bp,
    round(avg(triad_basis_mean) * 1e4, 2) as basis_bp,
    round(avg(oi_turnover), 3) as oi_turnover_per_hour
from {{ ref('final_dataset') }}
where is_valid_for_training = 1
group by symbol
order by funding_per_year desc nulls last
