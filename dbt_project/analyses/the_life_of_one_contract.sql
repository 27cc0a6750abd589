-- One contract day by day: prices, money, who attacked, open interest, funding paid, forced
-- orders, and how many hours are fit for training. Write another symbol in the first lines.
with
hours as (
    select
        *,
        cast(hour_ts as date) as day
    from {{ ref('final_dataset') }}
    where symbol = 'BTCUSDT'
)

select
    day,
    count(*) as hours,
    min_by(open, case when open is not null then hour_ts end) as open,
    max(high) as high,
    min(low) as low,
    max_by(close, case when close is not null then hour_ts end) as close,
    round(sum(quote_volume)) as volume_usdt,
    round(sum(cvd_quote)) as net_taker_usdt,
    max_by(oi_open_interest, case when oi_open_interest is not null then hour_ts end)
        as open_interest,
    round(1e4 * max_by(
        funding_paid_24h, case when funding_paid_24h is not null then hour_ts end
    ), 2) as funding_bp,
    round(sum(long_liq_volume)) as longs_liquidated_usdt,
    round(sum(short_liq_volume)) as shorts_liquidated_usdt,
    cast(sum(is_valid_for_training) as bigint) as valid_hours
from hours
group by day
order by day nulls last
