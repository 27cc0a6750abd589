with
missing_pieces as (
    select * from {{ ref('int_missing_pieces') }}
),

tick_defects as (
    select * from {{ ref('int_tick_defects') }}
),

liquidation_hours as (
    select * from {{ ref('liq_feed_coverage') }}
),

silences as (
    select * from {{ ref('int_silences') }}
),

zeros as (
    select * from {{ ref('int_metrics_zeros') }}
),

datasets as (
    select * from {{ ref('datasets') }}
),

-- One row for hours that follow each other: there may be millions without a feed.
unrecorded_hours as (
    select
        symbol,
        hour_ts,
        hour_ts - row_number() over (
            partition by symbol order by hour_ts nulls last
        ) * interval '1' hour as run
    from liquidation_hours
    where not ok
),

unrecorded as (
    select
        symbol,
        min(hour_ts) as first_hour_ts,
        max(hour_ts) as last_hour_ts,
        count(*) as n_hours
    from unrecorded_hours
    group by symbol, run
),

pieces as (
    select
        dataset,
        symbol,
        reason,
        piece_start,
        piece_end,
        n_slots
    from missing_pieces
    union all
    select
        'agg_trades_1m' as dataset,
        symbol,
        reason,
        defect_start as piece_start,
        defect_end as piece_end,
        n_ticks as n_slots
    from tick_defects
    union all
    select
        'liquidations' as dataset,
        symbol,
        'feed_not_recorded' as reason,
        first_hour_ts as piece_start,
        last_hour_ts + interval '1' hour as piece_end,
        n_hours as n_slots
    from unrecorded
),

adjoining as (
    select
        *,
        case
            when
                lag(piece_end) over (
                    partition by dataset, symbol, reason
                    order by piece_start nulls last, piece_end nulls last
                ) >= piece_start
                then 0
            else 1
        end as is_start
    from pieces
),

numbered as (
    select
        *,
        sum(is_start) over (
            partition by dataset, symbol, reason
            order by piece_start nulls last, piece_end nulls last
            rows between unbounded preceding and current row
        ) as island
    from adjoining
),

merged as (
    select
        dataset,
        symbol,
        reason,
        min(piece_start) as gap_start,
        max(piece_end) as gap_end,
        sum(n_slots) as n_slots
    from numbered
    group by dataset, symbol, reason, island
),

united as (
    select * from merged
    union all
    select
        'klines_1m' as dataset,
        symbol,
        'exchange_outage' as reason,
        silence_start as gap_start,
        silence_end as gap_end,
        n_silent as n_slots
    from silences
    union all
    select
        'metrics' as dataset,
        symbol,
        'zero_upstream' as reason,
        gap_start,
        gap_end,
        n_slots
    from zeros
),

final as (
    select
        cast(united.dataset as string) as dataset,
        cast(united.symbol as string) as symbol,
        cast(united.gap_start as timestamp) as gap_start,
        cast(united.gap_end as timestamp) as gap_end,
        cast(united.reason as string) as reason,
        cast(united.n_slots as bigint) as n_slots,
        cast(
            case
                -- the day is there; single trades are missing, or had to be put right
                when
                    united.reason in (
                        'missing_ids', 'ids_restart', 'bad_ticks', 'duplicate_ids', 'out_of_order'
                    )
                    then 'aggregate trade'
                when united.dataset = 'liquidations' then 'hour'
                else datasets.slot
            end as string
        ) as slot,
        cast(
            {{ seconds_between('united.gap_start', 'united.gap_end') }} / 3600e0 as double
        ) as hours
    from united
    left join datasets on united.dataset = datasets.dataset
)

select * from final
