{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 23}) }}

with
spine as (
    select * from {{ ref('int_hourly_spine') }}
    where {{ in_reach('hour_ts') }}
),

file_days as (
    select * from {{ ref('int_file_days') }}
    where dataset = 'agg_trades_1m'
),

tape as (
    select * from {{ ref('int_order_flow_hourly') }}
    where {{ in_reach('hour_ts') }}
),

thresholds as (
    select * from {{ ref('int_size_thresholds') }}
),

classes as (
    select * from {{ ref('int_size_classes_hourly') }}
    where {{ in_reach('hour_ts') }}
),

-- A covered hour in which nothing traded has sums of 0; an hour that no file covers has none.
joined as (
    select
        spine.symbol,
        spine.hour_ts,
        spine.bar_end_time,
        spine.feature_time,
        spine.has_bar,
        spine.listing_segment,
        coalesce(thresholds.n_trades, 0) as size_thr_n_trades,
        thresholds.whale_threshold,
        thresholds.whale_share,
        thresholds.retail_threshold,
        thresholds.retail_share,
        {% for name in [
            'trade_count',
            'base_volume',
            'quote_volume',
            'buy_qty',
            'sell_qty',
            'buy_quote',
            'sell_quote',
            'buy_count',
            'sell_count',
            'buy_quote_sq',
            'sell_quote_sq',
            'tw_cvd_quote',
            'tw_quote_volume',
        ] %}
        case when file_days.symbol is not null then coalesce(tape.{{ name }}, 0) end as {{ name }},
        {% endfor %}
        {% for class in ['whale', 'retail'] %}
        {% for name in ['buy_quote', 'sell_quote', 'buy_count', 'sell_count'] %}
        case
            when file_days.symbol is not null and thresholds.{{ class }}_threshold is not null
                then coalesce(classes.{{ class }}_{{ name }}, 0)
        end as {{ class }}_{{ name }},
        {% endfor %}
        {% endfor %}
        {% for class in ['whale50k', 'retail1k'] %}
        case
            when file_days.symbol is not null
                then
                    coalesce(classes.{{ class }}_buy_quote, 0)
                    - coalesce(classes.{{ class }}_sell_quote, 0)
        end as {{ class }}_cvd_quote,
        {% endfor %}
        case
            when file_days.symbol is not null then tape.price_last - tape.price_first
        end as price_change
    from spine
    left join file_days
        on
            spine.symbol = file_days.symbol
            and cast(spine.hour_ts as date) = file_days.day
    left join tape
        on
            spine.symbol = tape.symbol
            and spine.hour_ts = tape.hour_ts
    left join thresholds
        on
            spine.symbol = thresholds.symbol
            and spine.listing_segment = thresholds.listing_segment
            and cast(spine.hour_ts as date) = thresholds.day
    left join classes
        on
            spine.symbol = classes.symbol
            and spine.hour_ts = classes.hour_ts
),

netted as (
    select
        *,
        buy_quote - sell_quote as cvd_quote,
        whale_buy_quote - whale_sell_quote as whale_cvd_quote,
        retail_buy_quote - retail_sell_quote as retail_cvd_quote
    from joined
),

windowed as (
    select
        *,
        {{ safe_div('cvd_quote', 'buy_quote + sell_quote') }} as imbalance_quote,
        count(cvd_quote) over day_to_row as n_covered_24h,
        {{ exact_sum('cvd_quote', window='day_to_row') }} as cvd_quote_24h
    from netted
    window
        day_to_row as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between 23 preceding and current row
        )
),

final as (
    select
        symbol,
        hour_ts,
        bar_end_time,
        feature_time,
        has_bar,
        listing_segment,
        cast(trade_count as bigint) as at_trade_count,
        {{ finite('base_volume') }} as at_base_volume,
        {{ finite('quote_volume') }} as at_quote_volume,
        {{ finite(safe_div('quote_volume', 'base_volume')) }} as at_vwap,
        {{ finite('buy_qty') }} as taker_buy_qty,
        {{ finite('sell_qty') }} as taker_sell_qty,
        {{ finite('buy_quote') }} as taker_buy_quote,
        {{ finite('sell_quote') }} as taker_sell_quote,
        cast(buy_count as bigint) as taker_buy_trade_count,
        cast(sell_count as bigint) as taker_sell_trade_count,
        {{ finite('buy_qty - sell_qty') }} as cvd_qty,
        {{ finite('cvd_quote') }} as cvd_quote,
        {{ finite('case when n_covered_24h >= 18 then cvd_quote_24h end') }} as cvd_quote_24h,
        {{ finite('imbalance_quote') }} as imbalance_quote,
        {{ finite('abs(imbalance_quote)') }} as imbalance_ratio_quote,
        {{ finite(safe_div('cast(buy_count - sell_count as double)', 'buy_count + sell_count')) }}
            as count_imbalance,
        -- 1830 = 1 + 2 + … + 60
        {{ finite('tw_cvd_quote / 1830e0') }} as tw_cvd_quote_norm,
        {{ finite(safe_div('tw_cvd_quote', 'tw_quote_volume')) }} as tw_cvd_imbalance,
        {{ finite(safe_div('quote_volume', 'trade_count')) }} as avg_trade_quote,
        {{ finite(safe_div('base_volume', 'trade_count')) }} as avg_trade_base,
        {{ finite(safe_div('buy_quote', 'buy_count')) }} as taker_buy_avg_trade_quote,
        {{ finite(safe_div('sell_quote', 'sell_count')) }} as taker_sell_avg_trade_quote,
        {{ finite(safe_div('buy_quote_sq', 'buy_quote * buy_quote')) }} as taker_buy_hhi_quote,
        {{ finite(safe_div('sell_quote_sq', 'sell_quote * sell_quote')) }}
            as taker_sell_hhi_quote,
        {{ finite('price_change') }} as at_price_change,
        {{ finite(safe_div('cvd_quote', 'abs(price_change)')) }} as cvd_per_abs_price_change,
        {{ finite('whale_threshold') }} as whale_thr_quote,
        {{ finite('retail_threshold') }} as retail_thr_quote,
        cast(size_thr_n_trades as bigint) as size_thr_n_trades,
        {{ finite('whale_share') }} as whale_thr_q_eff,
        {{ finite('retail_share') }} as retail_thr_q_eff,
        {% for class in ['whale', 'retail'] %}
        {{ finite(class ~ '_buy_quote') }} as {{ class }}_buy_quote,
        {{ finite(class ~ '_sell_quote') }} as {{ class }}_sell_quote,
        {{ finite(class ~ '_cvd_quote') }} as {{ class }}_cvd_quote,
        cast({{ class }}_buy_count as bigint) as {{ class }}_buy_count,
        cast({{ class }}_sell_count as bigint) as {{ class }}_sell_count,
        {{ finite(safe_div(class ~ '_buy_quote + ' ~ class ~ '_sell_quote', 'quote_volume')) }}
            as {{ class }}_share_quote,
        {{ finite(safe_div(
            class ~ '_cvd_quote', class ~ '_buy_quote + ' ~ class ~ '_sell_quote'
        )) }} as {{ class }}_imbalance,
        {% endfor %}
        {{ finite('whale50k_cvd_quote') }} as whale50k_cvd_quote,
        {{ finite('retail1k_cvd_quote') }} as retail1k_cvd_quote
    from windowed
)

select * from final
