-- The hours in which most longs were closed by force: what share of the day was it, how far did
-- the price fall, what did open interest do, and what followed? Labels (y_*) were not known at
-- the time.
with
hours as (
    select
        dataset.symbol,
        dataset.hour_ts,
        dataset.long_liq_volume,
        dataset.long_liq_volume / nullif(
            sum(dataset.long_liq_volume) over (
                partition by dataset.symbol, dataset.listing_segment
                order by dataset.hour_ts nulls last
                rows between 23 preceding and current row
            ), 0
        ) as share_of_day,
        dataset.returns_1h,
        dataset.oi_flow_usd,
        dataset.sig_reversal_long,
        labels.y_1h,
        labels.y_24h
    from {{ ref('final_dataset') }} as dataset
    left join {{ ref('forward_returns_hourly') }} as labels
        on
            dataset.symbol = labels.symbol
            and dataset.hour_ts = labels.hour_ts
)

select
    symbol,
    hour_ts,
    round(long_liq_volume) as longs_liquidated_usdt,
    round(share_of_day, 2) as share_of_day,
    round(1e4 * returns_1h, 1) as return_bp,
    round(oi_flow_usd) as oi_flow_usd,
    sig_reversal_long,
    round(1e4 * y_1h, 1) as next_hour_bp,
    round(1e4 * y_24h, 1) as next_day_bp
from hours
where long_liq_volume > 0
order by long_liq_volume desc nulls last, symbol asc nulls last, hour_ts asc nulls last
limit 20
