-- A symbol and hour whose liquidations are counted from two sources.
select
    symbol,
    hour_ts
from {{ ref('int_liquidations') }}
where is_hour_source
group by symbol, hour_ts
having count(distinct source) > 1
