{%- set window_days = var('size_window_days') -%}
{%- set quantiles = {'whale': var('whale_q'), 'retail': var('retail_q')} -%}

with
sizes as (
    select * from {{ ref('int_trade_sizes_daily') }}
),

day_offsets (day_offset) as (
    select * from range(1, {{ window_days + 1 }})
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
        source_days.symbol,
        cast(source_days.day + day_offsets.day_offset * interval '1' day as date) as day,
        source_days.bin,
        source_days.n
    from source_days
    cross join day_offsets
),

pooled as (
    select
        symbol,
        day,
        bin,
        sum(n) as n
    from handed_on
    group by symbol, day, bin
),

traded_days as (
    select distinct
        symbol,
        day
    from source_days
),

histories as (
    select
        traded_days.symbol,
        cast(traded_days.day + day_offsets.day_offset * interval '1' day as date) as day,
        count(*) as n_days
    from traded_days
    cross join day_offsets
    group by
        traded_days.symbol,
        cast(traded_days.day + day_offsets.day_offset * interval '1' day as date)
),

cumulated as (
    select
        symbol,
        day,
        bin,
        cast(
            sum(n) over (
                partition by symbol, day order by bin nulls last
                rows between unbounded preceding and current row
            ) as double
        ) as n_up_to_bin,
        cast(sum(n) over (partition by symbol, day) as double) as n_trades
    from pooled
),

shares as (
    select
        symbol,
        day,
        bin,
        n_trades,
        {{ safe_div('n_up_to_bin', 'n_trades') }} as share
    from cumulated
),

picked as (
    select
        symbol,
        day,
        {% for name, q in quantiles.items() %}
        min(case when share >= cast({{ q }} as double) then bin end) as {{ name }}_bin,
        min(case when share >= cast({{ q }} as double) then share end) as {{ name }}_share,
        {% endfor %}
        max(n_trades) as n_trades
    from shares
    group by symbol, day
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
            and picked.day = histories.day
),

final as (
    select
        symbol,
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
