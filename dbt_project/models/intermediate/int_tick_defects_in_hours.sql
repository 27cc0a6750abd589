{%- set defects = {
    'bad_ticks': 'n_bad',
    'duplicate_ids': 'n_duplicates',
    'out_of_order': 'n_out_of_order',
} -%}
{{ config(materialized='monthly', partition_by='month') }}

with
minutes as (
    select * from {{ ref('stg_vision__agg_trades_1m') }}
    where {{ in_batch('month') }}
),

followed as (
    select
        *,
        lag(last_transact_time) over hours as previous_time,
        last_agg_trade_id - first_agg_trade_id + 1 - trade_count - n_bad as n_missing_inside,
        first_agg_trade_id - lag(last_agg_trade_id) over hours - 1 as n_missing_before
    from minutes
    window hours as (partition by symbol, hour_ts order by minute_ts nulls last)
),

final as (
    select
        symbol,
        'missing_ids' as reason,
        first_transact_time as defect_start,
        -- a minute whose trades share one moment still is a span
        greatest(
            last_transact_time, first_transact_time + interval '1' millisecond
        ) as defect_end,
        n_missing_inside as n_ticks
    from followed
    where n_missing_inside > 0
    union all
    select
        symbol,
        'missing_ids' as reason,
        previous_time as defect_start,
        first_transact_time as defect_end,
        n_missing_before as n_ticks
    from followed
    where n_missing_before > 0
    union all
    select
        symbol,
        'ids_restart' as reason,
        previous_time as defect_start,
        first_transact_time as defect_end,
        cast(null as bigint) as n_ticks
    from followed
    where n_missing_before < 0
    {% for reason, count in defects.items() %}
    union all
    select
        symbol,
        '{{ reason }}' as reason,
        minute_ts as defect_start,
        minute_ts + interval '1' minute as defect_end,
        {{ count }} as n_ticks
    from followed
    where {{ count }} > 0
    {% endfor %}
    -- no defect: without a row a month would count as not built, and be built again by every run
    union all
    select
        symbol,
        'none' as reason,
        min(first_transact_time) as defect_start,
        max(last_transact_time) as defect_end,
        0 as n_ticks
    from minutes
    group by symbol
)

select * from final
