{%- set fields = [
    'open_interest',
    'open_interest_usd',
    'toptrader_position_ratio',
    'toptrader_account_ratio',
    'global_account_ratio',
    'taker_vol_ratio',
] -%}
{{ config(materialized='hourly', partition_by='month', meta={
    'hours_before': 24,
    'time_column': 'bucket_ts',
}) }}

with
-- The last file of a month may end in the first bucket of the next.
archived as (
    select * from {{ ref('stg_vision__metrics') }}
    where {{ in_reach_months('month') }}
),

pulled as (
    select * from {{ ref('int_api_metrics') }}
    where {{ in_reach('bucket_ts') }}
),

ranked as (
    select
        *,
        {{ metrics_rank('symbol, bucket_ts') }} as bucket_rank
    from archived
),

archive as (
    select * from ranked
    where bucket_rank = 1
),

-- A missing field is filled with the value of the same moment, never of another with its label.
joined as (
    select
        coalesce(archive.symbol, pulled.symbol) as symbol,
        coalesce(archive.bucket_ts, pulled.bucket_ts) as bucket_ts,
        coalesce(archive.hour_ts, pulled.hour_ts) as hour_ts,
        coalesce(archive.period_end_ts, pulled.period_end_ts) as period_end_ts,
        {% for field in fields %}
        archive.{{ field }} as archive_{{ field }},
        case
            when archive.symbol is null or archive.period_end_ts = pulled.period_end_ts
                then pulled.{{ field }}
        end as api_{{ field }},
        {% endfor %}
        coalesce(archive.is_zero_open_interest, false) as is_zero_open_interest,
        case when archive.symbol is null then 'api' else 'archive' end as source
    from archive
    full outer join pulled
        on
            archive.symbol = pulled.symbol
            and archive.bucket_ts = pulled.bucket_ts
),

final as (
    select
        symbol,
        bucket_ts,
        hour_ts,
        period_end_ts,
        {% for field in fields %}
        coalesce(archive_{{ field }}, api_{{ field }}) as {{ field }},
        {% endfor %}
        case
            when archive_open_interest is not null then 'archive'
            when api_open_interest is not null then 'api'
        end as open_interest_source,
        is_zero_open_interest,
        source
    from joined
)

select * from final
