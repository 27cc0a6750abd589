{{ config(materialized='hourly', partition_by='month', meta={'hours_before': 'all'}) }}

with
bars as (
    select * from {{ ref('hourly_bars') }}
),

supertrend as (
    select * from {{ ref('int_supertrend_hourly') }}
),

setups as (
    select * from {{ ref('int_liquidation_setups_hourly') }}
),

joined as (
    select
        bars.symbol,
        bars.hour_ts,
        bars.bar_end_time,
        bars.feature_time,
        bars.has_bar,
        bars.listing_segment,
        bars.close,
        supertrend.bar_number,
        supertrend.atr,
        supertrend.upper_band,
        supertrend.lower_band,
        supertrend.direction,
        supertrend.flip,
        setups.setup_long_flush,
        setups.setup_short_squeeze,
        setups.setup_source,
        setups.setup_long_flush_strength,
        setups.setup_short_squeeze_strength,
        case when supertrend.direction = 1 then supertrend.lower_band else supertrend.upper_band end
            as stop_line,
        coalesce(supertrend.bar_number > {{ var('st_warmup_bars') }}, false) as is_published
    from bars
    left join supertrend
        on
            bars.symbol = supertrend.symbol
            and bars.hour_ts = supertrend.hour_ts
    left join setups
        on
            bars.symbol = setups.symbol
            and bars.hour_ts = setups.hour_ts
),

-- A leg ends with the bar that flips: that bar's own setups are the ended leg's.
remembered as (
    select
        *,
        max(case when flip <> 0 then bar_number end) over before_row as previous_flip,
        max(case when setup_long_flush = 1 then bar_number end) over up_to_row as last_flush,
        max(case when setup_short_squeeze = 1 then bar_number end) over up_to_row as last_squeeze
    from joined
    window
        before_row as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between unbounded preceding and 1 preceding
        ),
        up_to_row as (
            partition by symbol, listing_segment
            order by hour_ts nulls last
            rows between unbounded preceding and current row
        )
),

aged as (
    select
        *,
        case when flip <> 0 then 0 else bar_number - previous_flip end as flip_age,
        case when last_flush > coalesce(previous_flip, 0) then bar_number - last_flush end
            as flush_age,
        case when last_squeeze > coalesce(previous_flip, 0) then bar_number - last_squeeze end
            as squeeze_age
    from remembered
),

confirmed as (
    select
        *,
        case when flip <> 0 and flush_age <= {{ var('timeout_bars') }} then flush_age end
            as confirmed_flush_age,
        case when flip <> 0 and squeeze_age <= {{ var('timeout_bars') }} then squeeze_age end
            as confirmed_squeeze_age
    from aged
),

signalled as (
    select
        *,
        least(confirmed_flush_age, confirmed_squeeze_age) as confirmed_age,
        case when flip = 1 and confirmed_flush_age is not null then 1 else 0 end
            as reversal_long,
        case when flip = 1 and confirmed_squeeze_age is not null then 1 else 0 end
            as squeeze_long,
        case when flip = -1 and confirmed_squeeze_age is not null then 1 else 0 end
            as reversal_short,
        case when flip = -1 and confirmed_flush_age is not null then 1 else 0 end
            as flush_short
    from confirmed
),

final as (
    select
        symbol,
        hour_ts,
        bar_end_time,
        feature_time,
        has_bar,
        listing_segment,
        {{ finite('case when is_published then atr end') }} as atr_10,
        {{ finite('case when is_published then upper_band end') }} as st_upper,
        {{ finite('case when is_published then lower_band end') }} as st_lower,
        {{ finite('case when is_published then stop_line end') }} as st_line,
        cast(case when is_published then direction end as int) as st_dir,
        cast(case when is_published then flip end as int) as st_flip,
        {{ finite(
            'case when is_published then ' ~ safe_ln(safe_div('close', 'stop_line')) ~ ' end'
        ) }} as st_dist_logret,
        cast(case when is_published then flip_age end as int) as st_bars_since_flip,
        cast(setup_long_flush as int) as setup_long_flush,
        cast(setup_short_squeeze as int) as setup_short_squeeze,
        setup_source,
        {{ finite('setup_long_flush_strength') }} as setup_long_flush_strength,
        {{ finite('setup_short_squeeze_strength') }} as setup_short_squeeze_strength,
        cast(case when is_published and flip = 0 then flush_age end as int)
            as bars_since_long_flush,
        cast(case when is_published and flip = 0 then squeeze_age end as int)
            as bars_since_short_squeeze,
        cast(case when is_published then reversal_long end as int) as sig_reversal_long,
        cast(case when is_published then squeeze_long end as int) as sig_squeeze_long,
        cast(case when is_published then reversal_short end as int) as sig_reversal_short,
        cast(case when is_published then flush_short end as int) as sig_flush_short,
        cast(
            case when is_published then case when confirmed_age is null then 0 else flip end end
            as int
        ) as n_signal,
        cast(case when is_published then confirmed_age end as int) as n_bars_to_confirm
    from signalled
)

select * from final
