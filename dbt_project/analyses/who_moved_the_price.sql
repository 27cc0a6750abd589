-- New longs, covering shorts, new shorts or leaving longs: how did price and open interest move
-- together, and what followed in the next hour?
with
hours as (
    select
        symbol,
        listing_segment,
        hour_ts,
        oi_price_quadrant,
        ln(close / open) as logret,
        lead(ln(close / open)) over (
            partition by symbol, listing_segment order by hour_ts nulls last
        ) as next_logret
    from {{ ref('final_dataset') }}
    where has_bar = 1
)

select
    case oi_price_quadrant
        when 1 then '1 long build'
        when 2 then '2 short cover'
        when 3 then '3 short build'
        when 4 then '4 long exit'
    end as quadrant,
    count(*) as hours,
    round(1e4 * avg(logret), 2) as mean_return_bp,
    round(1e4 * avg(next_logret), 2) as mean_next_return_bp
from hours
where oi_price_quadrant is not null
group by oi_price_quadrant
order by oi_price_quadrant nulls last
