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
        hour_ts as piece_start,
        hour_ts + interval '1' hour as piece_end,
        1 as n_slots
    from liquidation_hours
    where not ok
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
