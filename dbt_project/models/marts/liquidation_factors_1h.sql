{{ config(
    materialized='hourly',
    partition_by='month',
    meta={'hours_before': var('mining_windows') | max}
) }}

with
spine as (
    select * from {{ ref('int_hourly_spine') }}
    where {{ in_reach('hour_ts') }}
),

grid as (
    {{ bar_grid('spine', 60) }}
),

factors as (
    {{ liquidation_factors(bars=ref('int_liquidation_bars_1h'), minutes=60) }}
),

final as (
    select
        {{ bar_keys('grid', 60) }},
        {% for name in liquidation_factor_names() %}
        factors.{{ name }}{{ ',' if not loop.last }}
        {% endfor %}
    from grid
    left join factors
        on
            grid.symbol = factors.symbol
            and grid.bar_ts = factors.bar_ts
)

select * from final
