-- Past its last year the seed would take holidays for trading days.
{{ config(severity='warn') }}

with
horizon as (
    select * from {{ ref('int_horizon') }}
),

holidays as (
    select * from {{ ref('us_market_holidays') }}
),

last_holiday as (
    select max(holiday) as holiday
    from holidays
)

select
    horizon.horizon_ts,
    last_holiday.holiday
from horizon
cross join last_holiday
where extract(year from horizon.horizon_ts) > extract(year from last_holiday.holiday)
