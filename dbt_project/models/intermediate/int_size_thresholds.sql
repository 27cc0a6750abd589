{%- set window_days = var('size_window_days') -%}
{%- set quantiles = {'whale': var('whale_q'), 'retail': var('retail_q')} -%}
{{ config(
    materialized='hourly',
    partition_by='month',
    meta={'hours_before': 'all', 'time_column': 'day'}
) }}

with
sizes as (
    select * from {{ ref('int_trade_sizes_daily') }}
),

spine as (
    select * from {{ ref('int_hourly_spine') }}
),

day_offsets (day_offset) as (
    select * from range(1, {{ window_days + 1 }})
),

segments as (
    select
        symbol,
        listing_segment,
        cast(min(hour_ts) as date) as first_day,
        lag(cast(max(case when has_bar = 1 then hour_ts end) as date)) over (
            partition by symbol order by listing_segment nulls last
        ) as last_day_before
    from spine
    group by symbol, listing_segment
),

-- A reused name is another contract: its sizes count from its first day that it has to itself.
target_days as (
    select distinct
        spine.symbol,
        spine.listing_segment,
        cast(spine.hour_ts as date) as day,
        case
            when segments.last_day_before = segments.first_day
                then cast(segments.first_day + interval '1' day as date)
            else segments.first_day
        end as history_start
    from spine
    inner join segments
        on
            spine.symbol = segments.symbol
            and spine.listing_segment = segments.listing_segment
),

source_days as (
    select
        symbol,
        day,
        bin,
        n
    from sizes
    where n > 0
),

-- Every day hands its sizes on to the days whose window reaches back to it.
handed_on as (
    select
        target_days.symbol,
        target_days.listing_segment,
        target_days.day,
        source_days.day as source_day,
        source_days.bin,
        source_days.n
    from source_days
    cross join day_offsets
    inner join target_days
        on
            source_days.symbol = target_days.symbol
            and cast(source_days.day + day_offsets.day_offset * interval '1' day as date)
            = target_days.day
            and source_days.day >= target_days.history_start
),

pooled as (
    select
        symbol,
        listing_segment,
        day,
        bin,
        sum(n) as n
    from handed_on
    group by symbol, listing_segment, day, bin
),

histories as (
    select
        symbol,
        listing_segment,
        day,
        count(distinct source_day) as n_days
    from handed_on
    group by symbol, listing_segment, day
),

cumulated as (
    select
        symbol,
        listing_segment,
        day,
        bin,
        cast(
            sum(n) over (
                partition by symbol, listing_segment, day order by bin nulls last
                rows between unbounded preceding and current row
            ) as double
        ) as n_up_to_bin,
        cast(sum(n) over (partition by symbol, listing_segment, day) as double) as n_trades
    from pooled
),

shares as (
    select
        symbol,
        listing_segment,
        day,
        bin,
        n_trades,
        {{ safe_div('n_up_to_bin', 'n_trades') }} as share
    from cumulated
),

picked as (
    select
        symbol,
        listing_segment,
        day,
        {% for name, q in quantiles.items() %}
        min(case when share >= cast({{ q }} as double) then bin end) as {{ name }}_bin,
        min(case when share >= cast({{ q }} as double) then share end) as {{ name }}_share,
        {% endfor %}
        max(n_trades) as n_trades
    from shares
    group by symbol, listing_segment, day
),

judged as (
    select
        picked.*,
        picked.n_trades >= {{ var('size_min_trades') }}
        and histories.n_days >= {{ var('size_min_days') }} as is_enough
    from picked
    inner join histories
        on
            picked.symbol = histories.symbol
            and picked.listing_segment = histories.listing_segment
            and picked.day = histories.day
),

final as (
    select
        symbol,
        listing_segment,
        day,
        {% for name in quantiles %}
        cast(case when is_enough then {{ name }}_bin end as int) as {{ name }}_bin,
        case
            when is_enough
                then power(10e0, ({{ name }}_bin + 1) / {{ var('hist_bins_per_decade') }}e0)
        end as {{ name }}_threshold,
        case when is_enough then {{ name }}_share end as {{ name }}_share,
        {% endfor %}
        cast(n_trades as bigint) as n_trades
    from judged
)

select * from final
