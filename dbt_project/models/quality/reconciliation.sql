{{ config(materialized='hourly', partition_by='month', meta={
    'hours_before': 0,
    'time_column': 'ts',
}) }}

{%- set tolerance = '1e-9' -%}
{%- set traded_fields = [
    'open',
    'high',
    'low',
    'close',
    'volume',
    'quote_volume',
    'trade_count',
    'taker_buy_volume',
    'taker_buy_quote_volume',
] -%}
{%- set tick_fields = [
    'volume',
    'quote_volume',
    'trade_count',
    'taker_buy_volume',
    'taker_buy_quote_volume',
    'buy_count',
    'sell_count',
    'buy_quote',
    'sell_quote',
] -%}
{#- what of the API stands for a field of metrics -#}
{%- set series = {
    'open_interest': 'open_interest_5m',
    'open_interest_usd': 'open_interest_5m',
    'toptrader_position_ratio': 'top_position_ratio_5m',
    'toptrader_account_ratio': 'top_account_ratio_5m',
    'global_account_ratio': 'global_account_ratio_5m',
    'taker_vol_ratio': 'taker_ratio_5m',
} -%}
{%- set api_fields = traded_fields + series.keys() | list + [
    'funding_rate',
    'mark_price',
    'index_price',
] -%}
{%- set price_fields = ['open', 'high', 'low', 'close'] -%}
{%- set price_datasets = ['mark_price_klines', 'index_price_klines', 'premium_index_klines'] -%}

with
traded_minutes as (
    select * from {{ ref('int_klines_hourly') }}
    where {{ in_reach('hour_ts') }}
),

traded_hours as (
    select * from {{ ref('int_klines_1h') }}
    where
        {{ in_reach_months('month') }}
        and {{ in_reach('hour_ts') }}
),

tick_pairs as (
    select * from {{ ref('int_tick_pairs') }}
    where
        is_different
        and {{ in_reach('ts') }}
),

api_pairs as (
    select * from {{ ref('int_api_pairs') }}
    where
        is_different
        and {{ in_reach('ts') }}
),

revisions as (
    select * from {{ ref('int_archive_revisions') }}
    where {{ in_reach('period_start') }}
),

price_minutes as (
    select * from {{ ref('int_price_minutes_hourly') }}
    where {{ in_reach('hour_ts') }}
),

{% for dataset in price_datasets %}
{{ dataset }}_minutes as (
    select * from price_minutes
    where dataset = '{{ dataset }}'
),

{{ dataset }}_hours as (
    select * from {{ ref('int_' ~ dataset ~ '_1h') }}
    where
        {{ in_reach_months('month') }}
        and {{ in_reach('hour_ts') }}
),

{% endfor %}
traded_pairs as (
    select
        coalesce(traded_minutes.symbol, traded_hours.symbol) as symbol,
        coalesce(traded_minutes.hour_ts, traded_hours.hour_ts) as ts,
        {% for field in traded_fields %}
        cast(traded_minutes.{{ field }} as double) as {{ field }}_a,
        cast(traded_hours.{{ field }} as double) as {{ field }}_b,
        {% endfor %}
        case
            when traded_hours.symbol is null then 'only_in_a'
            when traded_minutes.symbol is null then 'only_in_b'
            when traded_minutes.n_rows < 60 then 'minutes_missing'
            when traded_minutes.n_minutes < traded_minutes.n_rows then 'invalid_minutes'
            when traded_minutes.volume = 0 and traded_hours.volume > 0 then 'flat_in_a'
            when traded_hours.volume = 0 and traded_minutes.volume > 0 then 'flat_in_b'
            else 'values_differ'
        end as cause
    from traded_minutes
    full outer join traded_hours
        on
            traded_minutes.symbol = traded_hours.symbol
            and traded_minutes.hour_ts = traded_hours.hour_ts
),

{% for dataset in price_datasets %}
{{ dataset }}_pairs as (
    select
        coalesce(m.symbol, h.symbol) as symbol,
        coalesce(m.hour_ts, h.hour_ts) as ts,
        {% for field in price_fields %}
        m.{{ field }} as {{ field }}_a,
        h.{{ field }} as {{ field }}_b,
        {% endfor %}
        case
            when h.symbol is null then 'only_in_a'
            when m.symbol is null then 'only_in_b'
            when m.n_rows < 60 then 'minutes_missing'
            else 'values_differ'
        end as cause
    from {{ dataset }}_minutes as m
    full outer join {{ dataset }}_hours as h
        on
            m.symbol = h.symbol
            and m.hour_ts = h.hour_ts
),

{% endfor %}
bar_fields as (
    {% for dataset in ['klines'] + price_datasets %}
    {% for field in (traded_fields if dataset == 'klines' else price_fields) %}
    select
        'minutes_against_hours' as check_name,
        '{{ dataset }}_1m' as dataset_a,
        '{{ dataset }}_1h' as dataset_b,
        symbol,
        ts,
        '{{ field }}' as field,
        {{ field }}_a as value_a,
        {{ field }}_b as value_b,
        cause
    from {{ 'traded' if dataset == 'klines' else dataset }}_pairs
    {{ 'union all' if not (loop.last and dataset == price_datasets[-1]) }}
    {% endfor %}
    {% endfor %}
),

tick_fields as (
    {% for field in tick_fields %}
    select
        check_name,
        dataset_a,
        dataset_b,
        symbol,
        ts,
        '{{ field }}' as field,
        {{ field }}_a as value_a,
        {{ field }}_b as value_b,
        cause
    from tick_pairs
    -- a check compares some of the fields
    where
        {{ field }}_a is not null
        or {{ field }}_b is not null
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

api_fields as (
    {% for field in api_fields %}
    select
        check_name,
        dataset_a,
        {% if field in series %}
        case dataset_a when 'metrics' then '{{ series[field] }}' else dataset_b end as dataset_b,
        {% else %}
        dataset_b,
        {% endif %}
        symbol,
        ts,
        '{{ field }}' as field,
        {{ field }}_a as value_a,
        {{ field }}_b as value_b,
        cause,
        relative_tolerance,
        absolute_tolerance
    from api_pairs
    where {{ field }}_a is not null
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

fields as (
    select
        *,
        {{ tolerance }} as relative_tolerance,
        0e0 as absolute_tolerance
    from bar_fields
    union all
    select
        *,
        {{ tolerance }} as relative_tolerance,
        0e0 as absolute_tolerance
    from tick_fields
    union all
    select * from api_fields
),

differences as (
    select
        *,
        value_a - value_b as difference,
        {{ safe_div('abs(value_a - value_b)', 'greatest(abs(value_a), abs(value_b))') }}
            as relative_difference
    from fields
    where
        value_a is null
        or value_b is null
        or abs(value_a - value_b)
        > relative_tolerance * greatest(abs(value_a), abs(value_b)) + absolute_tolerance
),

united as (
    select
        check_name,
        dataset_a,
        dataset_b,
        symbol,
        ts,
        field,
        value_a,
        value_b,
        difference,
        relative_difference,
        cause,
        cast(null as string) as detail
    from differences
    -- an hour that only one source has is one row, not one a field
    where
        cause not in ('only_in_a', 'only_in_b')
        or field = 'close'
        or (check_name <> 'minutes_against_hours' and field in ('trade_count', 'buy_count'))
    union all
    select
        'archive_revision' as check_name,
        dataset as dataset_a,
        dataset as dataset_b,
        symbol,
        period_start as ts,
        'sha256' as field,
        cast(null as double) as value_a,
        cast(null as double) as value_b,
        cast(null as double) as difference,
        cast(null as double) as relative_difference,
        'replaced_upstream' as cause,
        detail
    from revisions
),

final as (
    select
        cast(check_name as string) as check_name,
        cast(dataset_a as string) as dataset_a,
        cast(dataset_b as string) as dataset_b,
        cast(symbol as string) as symbol,
        cast(ts as timestamp) as ts,
        cast(field as string) as field,
        cast(value_a as double) as value_a,
        cast(value_b as double) as value_b,
        cast(difference as double) as difference,
        cast(relative_difference as double) as relative_difference,
        cast(cause as string) as cause,
        cast(detail as string) as detail
    from united
)

select * from final
