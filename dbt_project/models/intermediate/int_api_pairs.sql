{%- set kinds = ['klines', 'mark_price_klines', 'index_price_klines', 'premium_index_klines'] -%}
{%- set intervals = ['1m', '1h'] -%}
{%- set prices = {
    'open': 'min_by({x}.open, {x}.open_time)',
    'high': 'max({x}.high)',
    'low': 'min({x}.low)',
    'close': 'max_by({x}.close, {x}.open_time)',
} -%}
{%- set sums = [
    'volume',
    'quote_volume',
    'trade_count',
    'taker_buy_volume',
    'taker_buy_quote_volume',
] -%}
{%- set metrics_fields = [
    'open_interest',
    'open_interest_usd',
    'toptrader_position_ratio',
    'toptrader_account_ratio',
    'global_account_ratio',
    'taker_vol_ratio',
] -%}
{%- set fields = prices.keys() | list + sums + ['funding_rate'] + metrics_fields
    + ['mark_price', 'index_price'] -%}

with
{% for kind in kinds %}
{% for interval in intervals %}
archive_{{ kind }}_{{ interval }} as (
    select * from {{ ref('stg_vision__' ~ kind ~ '_' ~ interval) }}
),

api_{{ kind }}_{{ interval }} as (
    select * from {{ ref('stg_api__' ~ kind ~ '_' ~ interval) }}
),

{% endfor %}
{% endfor %}
archive_funding as (
    select * from {{ ref('stg_vision__funding_rate') }}
),

api_funding as (
    select * from {{ ref('stg_api__funding_rate') }}
),

archive_metrics as (
    select * from {{ ref('int_metrics') }}
    where source = 'archive'
),

api_metrics as (
    select * from {{ ref('int_api_metrics') }}
),

metrics as (
    select * from {{ ref('int_metrics') }}
),

ticker as (
    select * from {{ ref('int_ticker_hourly') }}
),

triad as (
    select * from {{ ref('int_price_triad_hourly') }}
),

-- Bars are compared by the hour, over the bars of the hour that both sources have.
{% for kind in kinds %}
{% for interval in intervals %}
{{ kind }}_{{ interval }}_pairs as (
    select
        'archive_against_api' as check_name,
        '{{ kind }}_{{ interval }}' as dataset_a,
        '{{ kind }}_{{ interval }}' as dataset_b,
        api.symbol,
        api.hour_ts as ts,
        {% for field in fields %}
        {% for side, x in [('a', 'archive'), ('b', 'api')] %}
        cast(
            {% if field in prices %}
            {{ prices[field] | replace('{x}', x) }}
            {% elif kind == 'klines' and field in sums %}
            sum({{ x }}.{{ field }})
            {% else %}
            null
            {% endif %}
            as double
        ) as {{ field }}_{{ side }},
        {% endfor %}
        {% endfor %}
        1e-9 as relative_tolerance,
        0e0 as absolute_tolerance
    from api_{{ kind }}_{{ interval }} as api
    inner join archive_{{ kind }}_{{ interval }} as archive
        on
            api.symbol = archive.symbol
            and api.month = archive.month
            and api.open_time = archive.open_time
    group by api.symbol, api.hour_ts
),

{% endfor %}
{% endfor %}
funding_pairs as (
    select
        'archive_against_api' as check_name,
        'funding_rate' as dataset_a,
        'funding_rate' as dataset_b,
        api.symbol,
        api.settle_time as ts,
        {% for field in fields %}
        {% for side, x in [('a', 'archive'), ('b', 'api')] %}
        cast(
            {{ x ~ '.funding_rate' if field == 'funding_rate' else 'null' }} as double
        ) as {{ field }}_{{ side }},
        {% endfor %}
        {% endfor %}
        1e-9 as relative_tolerance,
        0e0 as absolute_tolerance
    from api_funding as api
    inner join archive_funding as archive
        on
            api.symbol = archive.symbol
            and api.settle_time = archive.settle_time
),

-- The API rounds ratios to four decimals.
metrics_pairs as (
    select
        'archive_against_api' as check_name,
        'metrics' as dataset_a,
        'five-minute series' as dataset_b,
        api.symbol,
        api.bucket_ts as ts,
        {% for field in fields %}
        {% for side, x in [('a', 'archive'), ('b', 'api')] %}
        cast(
            {{ x ~ '.' ~ field if field in metrics_fields else 'null' }} as double
        ) as {{ field }}_{{ side }},
        {% endfor %}
        {% endfor %}
        1e-6 as relative_tolerance,
        6e-5 as absolute_tolerance
    from api_metrics as api
    inner join archive_metrics as archive
        on
            api.symbol = archive.symbol
            and api.bucket_ts = archive.bucket_ts
            and api.period_end_ts = archive.period_end_ts
),

{% for name, dataset_b, source, source_field, source_ts, tolerance in [
    ('mark_price', 'mark_price_klines_1m', 'triad', 'mark_close', 'hour_ts', 'price'),
    ('index_price', 'index_price_klines_1m', 'triad', 'index_close', 'hour_ts', 'price'),
    (
        'open_interest',
        'metrics',
        'metrics',
        'open_interest',
        "period_end_ts - interval '1' hour",
        'open_interest',
    ),
] %}
ticker_{{ name }}_pairs as (
    select
        'ticker_against_archive' as check_name,
        'derivative_ticker' as dataset_a,
        '{{ dataset_b }}' as dataset_b,
        ticker.symbol,
        ticker.hour_ts as ts,
        {% for field in fields %}
        cast(
            {{ 'ticker.' ~ name if field == name else 'null' }} as double
        ) as {{ field }}_a,
        cast(
            {{ source ~ '.' ~ source_field if field == name else 'null' }} as double
        ) as {{ field }}_b,
        {% endfor %}
        {{ var('ticker_' ~ tolerance ~ '_tolerance') }} as relative_tolerance,
        0e0 as absolute_tolerance
    from ticker
    inner join {{ source }}
        on
            ticker.symbol = {{ source }}.symbol
            and ticker.hour_ts = {{ source }}.{{ source_ts }}
    where
        ticker.{{ name }} is not null
        and {{ source }}.{{ source_field }} is not null
),

{% endfor %}
united as (
    {% for kind in kinds %}
    {% for interval in intervals %}
    select * from {{ kind }}_{{ interval }}_pairs
    union all
    {% endfor %}
    {% endfor %}
    select * from funding_pairs
    union all
    select * from metrics_pairs
    union all
    select * from ticker_mark_price_pairs
    union all
    select * from ticker_index_price_pairs
    union all
    select * from ticker_open_interest_pairs
),

judged as (
    select
        *,
        false
        {% for field in fields %}
        or coalesce(
            abs({{ field }}_a - {{ field }}_b)
            > relative_tolerance * greatest(abs({{ field }}_a), abs({{ field }}_b))
            + absolute_tolerance,
            false
        )
        {% endfor %} as is_different
    from united
),

-- Values are kept where they are needed, that is where both sources have one.
final as (
    select
        check_name,
        dataset_a,
        dataset_b,
        symbol,
        ts,
        {% for field in fields %}
        {% for side in ('a', 'b') %}
        case
            when
                is_different
                and {{ field }}_a is not null
                and {{ field }}_b is not null
                then {{ field }}_{{ side }}
        end as {{ field }}_{{ side }},
        {% endfor %}
        {% endfor %}
        relative_tolerance,
        absolute_tolerance,
        case
            when not is_different then null
            when volume_a = 0 and volume_b > 0 then 'flat_in_a'
            when volume_b = 0 and volume_a > 0 then 'flat_in_b'
            else 'values_differ'
        end as cause,
        is_different
    from judged
)

select * from final
