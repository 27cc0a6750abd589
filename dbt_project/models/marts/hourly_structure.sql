{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 168}) }}

with
bars as (
    select * from {{ ref('hourly_bars') }}
    where {{ in_reach('hour_ts') }}
),

flow as (
    select * from {{ ref('hourly_order_flow') }}
    where {{ in_reach('hour_ts') }}
),

liquidations as (
    select * from {{ ref('hourly_liquidations') }}
    where {{ in_reach('hour_ts') }}
),

estimated as (
    select * from {{ ref('int_magnet_hourly') }}
    where {{ in_reach('hour_ts') }}
),

realised as (
    select * from {{ ref('int_liquidation_map_hourly') }}
    where {{ in_reach('hour_ts') }}
),

joined as (
    select
        bars.symbol,
        bars.hour_ts,
        bars.bar_end_time,
        bars.feature_time,
        bars.has_bar,
        bars.listing_segment,
        bars.high,
        bars.low,
        bars.close,
        bars.quote_volume,
        {{ safe_ln(safe_div('bars.close', 'bars.open')) }} as logret,
        liquidations.short_liq_volume,
        liquidations.long_liq_volume,
        liquidations.liq_imbalance,
        {{ log1p('liquidations.short_liq_volume') }} as short_liq_log,
        {{ log1p('liquidations.long_liq_volume') }} as long_liq_log,
        flow.cvd_quote,
        flow.whale_buy_quote + flow.whale_sell_quote as whale_quote,
        flow.retail_buy_quote + flow.retail_sell_quote as retail_quote,
        flow.whale_imbalance,
        flow.retail_imbalance,
        cast(flow.retail_buy_count as double) as retail_buy_count,
        cast(flow.retail_sell_count as double) as retail_sell_count,
        {{ log1p('flow.retail_buy_count') }} as retail_buy_log,
        {{ log1p('flow.retail_sell_count') }} as retail_sell_log,
        estimated.distance_to_max_liq,
        estimated.distance_to_max_liq_up,
        estimated.distance_to_max_liq_dn,
        estimated.magnet_max_share,
        estimated.magnet_pull,
        realised.distance_to_max_liq_real,
        realised.magnet_real_max_share
    from bars
    left join flow
        on
            bars.symbol = flow.symbol
            and bars.hour_ts = flow.hour_ts
    left join liquidations
        on
            bars.symbol = liquidations.symbol
            and bars.hour_ts = liquidations.hour_ts
    left join estimated
        on
            bars.symbol = estimated.symbol
            and bars.hour_ts = estimated.hour_ts
    left join realised
        on
            bars.symbol = realised.symbol
            and bars.hour_ts = realised.hour_ts
),

windowed as (
    select
        *,
        count(close) over x24 as n_x24,
        max(high) over x24 as max_high,
        min(low) over x24 as min_low,
        {{ baseline_of('short_liq_log', 'x168', 'short_liq') }},
        {{ baseline_of('long_liq_log', 'x168', 'long_liq') }},
        {{ baseline_of('retail_buy_log', 'x168', 'retail_buy') }},
        {{ baseline_of('retail_sell_log', 'x168', 'retail_sell') }},
        {{ steady_baseline_of('cvd_quote', 'x168', 'cvd', 12) }},
        {{ steady_baseline_of('logret', 'x168', 'logret', 24) }},
        {{ decayed_memory('short_liq_volume', 'hours') }} as fuel_short_mem,
        {{ decayed_memory('long_liq_volume', 'hours') }} as fuel_long_mem
    from joined
    window
        hours as (
            partition by symbol, listing_segment order by hour_ts nulls last
        ),
        x24 as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between 24 preceding and 1 preceding
        ),
        x168 as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between 168 preceding and 1 preceding
        )
),

scored as (
    select
        *,
        {{ z_of('short_liq_log', 'short_liq', 126) }} as short_liq_z,
        {{ z_of('long_liq_log', 'long_liq', 126) }} as long_liq_z,
        {{ z_of('retail_buy_log', 'retail_buy', 126) }} as retail_buy_z,
        {{ z_of('retail_sell_log', 'retail_sell', 126) }} as retail_sell_z,
        -- steady, because their difference can be far smaller than either
        {{ steady_z_of('cvd_quote', 'cvd', 126, 12) }} as cvd_z,
        {{ steady_z_of('logret', 'logret', 126, 24) }} as logret_z,
        case
            when n_x24 < 18 then null
            when close > max_high then 1
            when close <= max_high then 0
        end as break_up,
        case
            when n_x24 < 18 then null
            when close < min_low then 1
            when close >= min_low then 0
        end as break_dn,
        {{ safe_div('whale_quote', 'retail_quote') }} as whale_retail_ratio
    from windowed
),

final as (
    select
        symbol,
        hour_ts,
        bar_end_time,
        feature_time,
        has_bar,
        listing_segment,
        {{ finite('short_liq_z') }} as fuel_short_z,
        {{ finite('long_liq_z') }} as fuel_long_z,
        {{ finite(safe_div('short_liq_volume', 'quote_volume')) }} as fuel_short_intensity,
        {{ finite(safe_div('long_liq_volume', 'quote_volume')) }} as fuel_long_intensity,
        {{ finite('fuel_short_mem') }} as fuel_short_mem,
        {{ finite('fuel_long_mem') }} as fuel_long_mem,
        cast(break_up as int) as fuel_break_up,
        cast(break_dn as int) as fuel_break_dn,
        {{ finite('short_liq_z * break_up') }} as fuel_up_score,
        {{ finite('long_liq_z * break_dn') }} as fuel_dn_score,
        {{ finite('distance_to_max_liq') }} as distance_to_max_liq,
        {{ finite('distance_to_max_liq_up') }} as distance_to_max_liq_up,
        {{ finite('distance_to_max_liq_dn') }} as distance_to_max_liq_dn,
        {{ finite('magnet_max_share') }} as magnet_max_share,
        {{ finite('magnet_pull') }} as magnet_pull,
        {{ finite('distance_to_max_liq_real') }} as distance_to_max_liq_real,
        {{ finite('magnet_real_max_share') }} as magnet_real_max_share,
        {{ finite('whale_retail_ratio') }} as whale_retail_ratio,
        {{ finite(safe_ln('whale_retail_ratio')) }} as whale_retail_logratio,
        {{ finite('whale_imbalance - retail_imbalance') }} as whale_retail_divergence,
        {{ finite(safe_div(
            'retail_buy_count - retail_sell_count', 'retail_buy_count + retail_sell_count'
        )) }} as retail_count_imbalance,
        {{ finite('retail_buy_z') }} as retail_buy_count_z_168h,
        {{ finite('long_liq_volume - short_liq_volume') }} as net_burn_volume,
        -- 0 less it: the opposite of nothing is 0, not -0
        {{ finite('0e0 - liq_imbalance') }} as net_burn_ratio,
        {{ finite(safe_div('long_liq_volume - short_liq_volume', 'quote_volume')) }}
            as net_burn_over_quote,
        {{ finite('cvd_z - logret_z') }} as absorption_z,
        case
            when
                retail_buy_z is null or retail_imbalance is null
                or whale_imbalance is null or logret_z is null
                then null
            when
                retail_buy_z > 1 and retail_imbalance > 0
                and whale_imbalance < 0 and logret_z < 0.5e0
                then 1
            else 0
        end as pressure_distribution,
        case
            when
                retail_sell_z is null or retail_imbalance is null
                or whale_imbalance is null or logret_z is null
                then null
            when
                retail_sell_z > 1 and retail_imbalance < 0
                and whale_imbalance > 0 and logret_z > -0.5e0
                then 1
            else 0
        end as pressure_accumulation
    from scored
)

select * from final
