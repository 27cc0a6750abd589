{{ config(
    materialized='hourly',
    partition_by='month',
    alias='liquidation_factors_' ~ var('liq_bar_minutes') ~ 'm',
    meta={'hours_before': [168, var('mining_windows') | max] | max, 'time_column': 'bar_ts'}
) }}

with
base as (
    select * from {{ ref('int_liquidation_base_15m') }}
),

factors as (
    {{ liquidation_factors(
        bars=ref('int_liquidation_bars_15m'), minutes=var('liq_bar_minutes')
    ) }}
),

final as (
    select
        base.*,
        {% for name in liquidation_factor_names() %}
        factors.{{ name }}{{ ',' if not loop.last }}
        {% endfor %}
    from base
    left join factors
        on
            base.symbol = factors.symbol
            and base.bar_ts = factors.bar_ts
)

select * from final
