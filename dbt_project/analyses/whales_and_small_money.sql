-- Big money and small money on one side, or on two: how did the price move in the hour, and what
-- followed in the next? Both are measured against the trade sizes of the week before.
with
hours as (
    select
        symbol,
        listing_segment,
        hour_ts,
        whale_imbalance,
        retail_imbalance,
        ln(close / open) as logret,
        lead(ln(close / open)) over (
            partition by symbol, listing_segment order by hour_ts nulls last
        ) as next_logret
    from {{ ref('final_dataset') }}
    where has_bar = 1
)

select
    case when whale_imbalance > 0 then 'buy' else 'sell' end as whales,
    case when retail_imbalance > 0 then 'buy' else 'sell' end as small_money,
    count(*) as hours,
    round(1e4 * avg(logret), 2) as mean_return_bp,
    round(1e4 * avg(next_logret), 2) as mean_next_return_bp
from hours
where
    whale_imbalance <> 0
    and retail_imbalance <> 0
group by whale_imbalance > 0, retail_imbalance > 0
order by whales nulls last, small_money nulls last
