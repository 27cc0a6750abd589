{% macro liquidation_base(bars, quotes, quotes_time, minutes) -%}
{%- set sides = ['long', 'short'] -%}
{%- set week = 168 -%}
{%- set enough = week * 60 // minutes * 3 // 4 -%}
with
bars as (
    select * from {{ bars }}
    where {{ in_reach('bar_ts') }}
),

quotes as (
    {{ quotes }}
    where {{ in_reach(quotes_time) }}
),

spine as (
    select * from {{ ref('int_hourly_spine') }}
    where {{ in_reach('hour_ts') }}
),

grid as (
    {{ bar_grid('spine', minutes) }}
),

added as (
    select
        *,
        long_liq_volume + short_liq_volume as liq_total_volume
    from bars
),

windowed as (
    select
        *,
        {% for side in sides %}
        {{ baseline_of(side ~ '_liq_volume', 'before', side) }},
        {{ rank_of(side ~ '_liq_volume', 'up_to', enough) }} as {{ side }}_rank
        {{- ',' if not loop.last }}
        {% endfor %}
    from added
    window
        before as (
            {{ bars_before(week, minutes, false) }}
        ),
        up_to as (
            {{ bars_before(week, minutes, true) }}
        )
),

final as (
    select
        {{ bar_keys('grid', minutes) }},
        {{ finite('windowed.long_liq_volume') }} as long_liq_volume,
        {{ finite('windowed.short_liq_volume') }} as short_liq_volume,
        {{ finite('windowed.long_liq_qty') }} as long_liq_qty,
        {{ finite('windowed.short_liq_qty') }} as short_liq_qty,
        windowed.long_liq_count,
        windowed.short_liq_count,
        {{ finite('windowed.long_liq_max') }} as long_liq_max,
        {{ finite('windowed.short_liq_max') }} as short_liq_max,
        {{ finite('windowed.liq_total_volume') }} as liq_total_volume,
        {{ finite(safe_div(
            'windowed.short_liq_volume - windowed.long_liq_volume', 'windowed.liq_total_volume'
        )) }} as liq_imbalance,
        {% for side in sides %}
        {{ finite(z_of('windowed.' ~ side ~ '_liq_volume', 'windowed.' ~ side, enough)) }}
            as {{ side }}_liq_z_168h,
        {% endfor %}
        {{ finite('windowed.long_rank') }} as long_liq_rank_168h,
        {{ finite('windowed.short_rank') }} as short_liq_rank_168h,
        {{ finite(safe_div('windowed.liq_total_volume', 'quotes.quote_volume')) }}
            as liq_over_quote_volume,
        case when windowed.is_covered then 1 else 0 end as liq_feed_ok
    from grid
    left join windowed
        on
            grid.symbol = windowed.symbol
            and grid.bar_ts = windowed.bar_ts
    left join quotes
        on
            grid.symbol = quotes.symbol
            and grid.bar_ts = quotes.bar_ts
)

select * from final
{%- endmacro %}
