{%- set epoch = "timestamp '2000-01-01'" -%}

with
days as (
    select * from {{ ref('int_coverage_days') }}
),

slot_gaps as (
    select * from {{ ref('int_slot_gaps') }}
),

listings as (
    select * from {{ ref('int_listings') }}
),

answered_spans as (
    select * from {{ ref('int_answered_spans') }}
),

settlements as (
    select * from {{ ref('int_funding_events') }}
),

empty_days as (
    select
        dataset,
        symbol,
        slot_minutes,
        reason,
        day_start as piece_start,
        day_end as piece_end
    from days
    where
        slot_minutes is not null
        and n_present = 0
),

-- The last day ends with the horizon, whatever has come after it.
between_slots as (
    select
        days.dataset,
        days.symbol,
        days.slot_minutes,
        days.reason,
        slot_gaps.gap_start as piece_start,
        least(slot_gaps.gap_end, days.day_end) as piece_end
    from days
    inner join slot_gaps
        on
            days.dataset = slot_gaps.dataset
            and days.symbol = slot_gaps.symbol
            and days.day = slot_gaps.day
    where days.n_present > 0
),

-- Two settlements that lie further apart than either one's interval enclose missing ones. Where
-- both come from the API, which states none, it is the longest there is.
spaced_settlements as (
    select
        symbol,
        settle_time,
        lag(settle_time) over (
            partition by symbol order by settle_time nulls last
        ) as previous_settle_time,
        coalesce(
            greatest(
                funding_interval_hours,
                lag(funding_interval_hours) over (
                    partition by symbol order by settle_time nulls last
                )
            ),
            8
        ) as interval_hours
    from settlements
),

settlement_days as (
    select
        days.dataset,
        days.symbol,
        days.reason,
        days.day_start,
        days.day_end,
        count(settlements.settle_time) as n_settlements
    from days
    left join settlements
        on
            days.symbol = settlements.symbol
            and days.day = cast(settlements.settle_time as date)
    where days.dataset = 'funding_rate'
    group by days.dataset, days.symbol, days.reason, days.day_start, days.day_end
),

between_settlements as (
    select
        settlement_days.dataset,
        settlement_days.symbol,
        spaced_settlements.interval_hours * 60 as slot_minutes,
        settlement_days.reason,
        greatest(
            spaced_settlements.previous_settle_time
            + spaced_settlements.interval_hours * interval '1' hour,
            settlement_days.day_start
        ) as piece_start,
        least(spaced_settlements.settle_time, settlement_days.day_end) as piece_end
    from spaced_settlements
    inner join settlement_days
        on
            spaced_settlements.symbol = settlement_days.symbol
            and spaced_settlements.settle_time > settlement_days.day_start
            and spaced_settlements.previous_settle_time
            + spaced_settlements.interval_hours * interval '1' hour < settlement_days.day_end
    where
        spaced_settlements.previous_settle_time
        + spaced_settlements.interval_hours * interval '1' hour < spaced_settlements.settle_time
),

settlement_spans as (
    select
        symbol,
        min(settle_time) as first_settle_time,
        max(settle_time) as last_settle_time
    from settlements
    group by symbol
),

-- Days before the first settlement and after the last one.
around_settlements as (
    select
        settlement_days.dataset,
        settlement_days.symbol,
        cast(null as int) as slot_minutes,
        settlement_days.reason,
        settlement_days.day_start as piece_start,
        settlement_days.day_end as piece_end
    from settlement_days
    left join settlement_spans on settlement_days.symbol = settlement_spans.symbol
    where
        settlement_days.n_settlements = 0
        and (
            settlement_spans.symbol is null
            or settlement_days.day_end <= settlement_spans.first_settle_time
            or settlement_days.day_start > settlement_spans.last_settle_time
        )
),

file_days as (
    select
        dataset,
        symbol,
        1440 as slot_minutes,
        reason,
        day_start as piece_start,
        day_end as piece_end
    from days
    where
        slot = 'daily file'
        and not has_file
),

pieces as (
    select * from empty_days
    union all
    select * from between_slots
    union all
    select * from between_settlements
    union all
    select * from around_settlements
    union all
    select * from file_days
),

-- A day that the horizon cuts short may have nothing to miss.
gaps as (
    select * from pieces
    where piece_start < piece_end
),

-- What the archive has not given is absent upstream where the API has answered without it.
answers as (
    select
        gaps.*,
        case
            when answered_spans.symbol is not null
                then greatest(gaps.piece_start, answered_spans.span_start)
        end as answer_start,
        case
            when answered_spans.symbol is not null
                then least(gaps.piece_end, answered_spans.span_end)
        end as answer_end
    from gaps
    left join answered_spans
        on
            gaps.dataset = answered_spans.dataset
            and gaps.symbol = answered_spans.symbol
            and gaps.piece_start < answered_spans.span_end
            and gaps.piece_end > answered_spans.span_start
),

followed_answers as (
    select
        *,
        lag(answer_end) over answers_to_piece as previous_answer_end,
        lead(answer_start) over answers_to_piece as next_answer_start
    from answers
    window
        answers_to_piece as (
            partition by dataset, symbol, slot_minutes, reason, piece_start, piece_end
            order by answer_start nulls last
        )
),

explained as (
    select
        dataset,
        symbol,
        slot_minutes,
        'absent_upstream' as reason,
        answer_start as piece_start,
        answer_end as piece_end
    from followed_answers
    where answer_start is not null
    union all
    select
        dataset,
        symbol,
        slot_minutes,
        reason,
        coalesce(previous_answer_end, piece_start) as piece_start,
        coalesce(answer_start, piece_end) as piece_end
    from followed_answers
    union all
    select
        dataset,
        symbol,
        slot_minutes,
        reason,
        answer_end as piece_start,
        piece_end
    from followed_answers
    where
        answer_start is not null
        and next_answer_start is null
),

-- What upstream does not have is cut at the listing and at the last trade of the contract. The file
-- of a day is not cut: it should be there if the contract traded at all on that day.
listed as (
    select
        explained.dataset,
        explained.symbol,
        explained.slot_minutes,
        explained.reason,
        explained.piece_start,
        explained.piece_end,
        case
            when explained.reason <> 'absent_upstream' then null
            when explained.slot_minutes = 1440 then date_trunc('day', listings.listed_ts)
            else listings.listed_ts
        end as listed_ts,
        case
            when explained.reason <> 'absent_upstream' then null
            when explained.slot_minutes = 1440
                then
                    date_trunc('day', listings.delisted_ts - interval '1' second)
                    + interval '1' day
            else listings.delisted_ts
        end as delisted_ts
    from explained
    left join listings on explained.symbol = listings.symbol
),

cut as (
    select
        dataset,
        symbol,
        slot_minutes,
        'before_listing' as reason,
        piece_start,
        least(piece_end, listed_ts) as piece_end
    from listed
    where listed_ts is not null
    union all
    select
        dataset,
        symbol,
        slot_minutes,
        reason,
        greatest(piece_start, coalesce(listed_ts, piece_start)) as piece_start,
        least(piece_end, coalesce(delisted_ts, piece_end)) as piece_end
    from listed
    union all
    select
        dataset,
        symbol,
        slot_minutes,
        'after_delisting' as reason,
        greatest(piece_start, delisted_ts) as piece_start,
        piece_end
    from listed
    where delisted_ts is not null
),

counted as (
    select
        dataset,
        symbol,
        slot_minutes,
        reason,
        piece_start,
        piece_end,
        cast(piece_start as date) as day,
        -- slots that start inside the piece
        cast(
            ceil({{ seconds_between(epoch, 'piece_end') }} / (60e0 * slot_minutes))
            - ceil({{ seconds_between(epoch, 'piece_start') }} / (60e0 * slot_minutes)) as bigint
        ) as n_slots
    from cut
    where piece_start < piece_end
),

final as (
    select * from counted
    where coalesce(n_slots, 1) > 0
)

select * from final
