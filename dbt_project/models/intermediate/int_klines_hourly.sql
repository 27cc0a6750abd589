{{ config(materialized='monthly', partition_by='month') }}

{%- set bar_minutes = var('liq_bar_minutes') -%}
{%- set turnovers = [] -%}
{%- for first in range(0, 60, bar_minutes) -%}
    {%- do turnovers.append(exact_sum(
        'turnover', 'is_valid and minute_of_hour between ' ~ first ~ ' and ' ~ (first + bar_minutes - 1)
    )) -%}
{%- endfor %}

with
minutes as (
    select * from {{ ref('int_klines_1m') }}
    where {{ in_batch('month') }}
),

priced as (
    select
        symbol,
        hour_ts,
        open_time,
        minute_of_hour,
        open,
        high,
        low,
        close,
        volume,
        quote_volume,
        trade_count,
        taker_buy_volume,
        taker_buy_quote_volume,
        is_valid,
        is_active,
        source,
        volume * (high + low + close) / 3e0 as typical_value,
        coalesce(quote_volume, volume * (high + low + close) / 3e0) as turnover
    from minutes
),

summed as (
    select
        symbol,
        hour_ts,
        min(open_time) as first_open_time,
        max(open_time) as last_open_time,
        cast(count(*) as int) as n_rows,
        cast(sum(case when source = 'api' then 1 else 0 end) as int) as n_rows_from_api,
        min_by(open, open_time) filter (where is_valid) as open,
        max(high) filter (where is_valid) as high,
        min(low) filter (where is_valid) as low,
        max_by(close, open_time) filter (where is_valid) as close,
        {{ exact_sum('volume', 'is_valid') }} as volume,
        {{ exact_sum('turnover', 'is_valid') }} as quote_volume,
        cast(sum(trade_count) filter (where is_valid) as bigint) as trade_count,
        {{ exact_sum('taker_buy_volume', 'is_valid') }} as taker_buy_volume,
        {{ exact_sum('taker_buy_quote_volume', 'is_valid') }} as taker_buy_quote_volume,
        {{ exact_sum('typical_value', 'is_valid') }} as typical_value,
        cast(
            max(case when quote_volume is null then 1 else 0 end) filter (where is_valid) as int
        ) as quote_is_proxy,
        cast(sum(case when is_valid then 1 else 0 end) as int) as n_minutes,
        cast(sum(case when is_active then 1 else 0 end) as int) as n_minutes_active,
        cast(
            sum(case when is_valid and source = 'api' then 1 else 0 end) as int
        ) as n_minutes_from_api,
        max(case when is_valid and minute_of_hour = 30 then open end) as open_at_30,
        max(case when is_valid and minute_of_hour = 29 then close end) as close_at_29,
        min(minute_of_hour) filter (where is_active) as first_active_minute,
        max(minute_of_hour) filter (where is_active) as last_active_minute,
        {{ vector_of('minute_of_hour') }} filter (where is_active) as active_minutes,
        {{ vector_literal(turnovers | join(', ')) }} as bar_quote_volumes
    from priced
    group by symbol, hour_ts
),

final as (
    select
        symbol,
        hour_ts,
        first_open_time,
        last_open_time,
        n_rows,
        n_rows_from_api,
        open,
        high,
        low,
        close,
        volume,
        quote_volume,
        trade_count,
        taker_buy_volume,
        taker_buy_quote_volume,
        typical_value,
        quote_is_proxy,
        n_minutes,
        n_minutes_active,
        n_minutes_from_api,
        open_at_30,
        close_at_29,
        first_active_minute,
        last_active_minute,
        -- Most hours trade in every minute; only the others need their minutes looked at.
        cast(60 * case
            when n_minutes_active < 2 then null
            when n_minutes_active = last_active_minute - first_active_minute + 1 then 1
            else {{ longest_step(vector_sorted('active_minutes')) }}
        end as bigint) as max_active_gap_seconds,
        bar_quote_volumes
    from summed
)

select * from final
