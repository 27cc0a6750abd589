{%- set tolerance = '1e-9' -%}
{#- what each check compares: the field in the first source and in the second -#}
{%- set bar_fields = {
    'volume': ('tape.base_volume', 'bars.volume'),
    'quote_volume': ('tape.quote_volume', 'bars.quote_volume'),
    'trade_count': ('tape.raw_trade_count', 'bars.trade_count'),
    'taker_buy_volume': ('tape.buy_qty', 'bars.taker_buy_volume'),
    'taker_buy_quote_volume': ('tape.buy_quote', 'bars.taker_buy_quote_volume'),
} -%}
{%- set size_fields = {
    'buy_count': ('classes.all_buy_count', 'tape.buy_count'),
    'sell_count': ('classes.all_sell_count', 'tape.sell_count'),
    'buy_quote': ('classes.all_buy_quote', 'tape.buy_quote'),
    'sell_quote': ('classes.all_sell_quote', 'tape.sell_quote'),
} -%}
{%- set kept_fields = {
    'volume': ('kept.base_volume', 'tape.base_volume'),
    'quote_volume': ('kept.quote_volume', 'tape.quote_volume'),
    'trade_count': ('kept.trade_count', 'tape.trade_count'),
} -%}
{%- set fields = bar_fields.keys() | list + size_fields.keys() | list -%}

with
file_days as (
    select * from {{ ref('int_file_days') }}
    where dataset = 'agg_trades_1m'
),

tape_hours as (
    select * from {{ ref('int_order_flow_hourly') }}
),

class_hours as (
    select * from {{ ref('int_size_classes_hourly') }}
),

kept_hours as (
    select * from {{ ref('int_kept_ticks_hourly') }}
),

minute_hours as (
    select * from {{ ref('int_klines_hourly') }}
),

exchange_hours as (
    select * from {{ ref('int_klines_1h') }}
),

defects as (
    select * from {{ ref('int_tick_defects') }}
    where reason = 'missing_ids'
),

kept_months as (
    select
        symbol,
        month
    from {{ ref('stg_lake__landing_log') }}
    where
        is_current
        and source = 'vision'
        and dataset = 'agg_trades'
        and rows_out > 0
),

-- hours that an id hole touches: those between its ends have no trade at all
holed_hours as (
    select
        symbol,
        date_trunc('hour', defect_start) as hour_ts
    from defects
    union distinct
    select
        symbol,
        date_trunc('hour', defect_end) as hour_ts
    from defects
),

tape as (
    select
        tape_hours.*,
        holed_hours.symbol is not null as has_hole
    from tape_hours
    inner join file_days
        on
            tape_hours.symbol = file_days.symbol
            and cast(tape_hours.hour_ts as date) = file_days.day
    left join holed_hours
        on
            tape_hours.symbol = holed_hours.symbol
            and tape_hours.hour_ts = holed_hours.hour_ts
),

minute_bars as (
    select
        minute_hours.symbol,
        minute_hours.hour_ts,
        minute_hours.volume,
        minute_hours.quote_volume,
        minute_hours.trade_count,
        minute_hours.taker_buy_volume,
        minute_hours.taker_buy_quote_volume,
        case
            when minute_hours.n_rows < 60 then 'minutes_missing'
            when minute_hours.n_minutes < minute_hours.n_rows then 'invalid_minutes'
        end as defect
    from minute_hours
    inner join file_days
        on
            minute_hours.symbol = file_days.symbol
            and cast(minute_hours.hour_ts as date) = file_days.day
),

hour_bars as (
    select
        exchange_hours.symbol,
        exchange_hours.hour_ts,
        exchange_hours.volume,
        exchange_hours.quote_volume,
        exchange_hours.trade_count,
        exchange_hours.taker_buy_volume,
        exchange_hours.taker_buy_quote_volume,
        cast(null as string) as defect
    from exchange_hours
    inner join file_days
        on
            exchange_hours.symbol = file_days.symbol
            and cast(exchange_hours.hour_ts as date) = file_days.day
),

classes as (
    select class_hours.*
    from class_hours
    inner join file_days
        on
            class_hours.symbol = file_days.symbol
            and cast(class_hours.hour_ts as date) = file_days.day
),

kept as (
    select kept_hours.*
    from kept_hours
    inner join file_days
        on
            kept_hours.symbol = file_days.symbol
            and cast(kept_hours.hour_ts as date) = file_days.day
),

kept_tape as (
    select tape.*
    from tape
    inner join kept_months
        on
            tape.symbol = kept_months.symbol
            and tape.month = kept_months.month
    where tape.trade_count > 0
),

-- A covered hour without a trade has no row on the tape: where the other source has one that says
-- the same, zeros meet zeros.
{% for check_name, dataset_b, bars in [
    ('ticks_against_minutes', 'klines_1m', 'minute_bars'),
    ('ticks_against_hours', 'klines_1h', 'hour_bars'),
] %}
{{ check_name }} as (
    select
        '{{ check_name }}' as check_name,
        'agg_trades_1m' as dataset_a,
        '{{ dataset_b }}' as dataset_b,
        coalesce(tape.symbol, bars.symbol) as symbol,
        coalesce(tape.hour_ts, bars.hour_ts) as ts,
        {% for field in fields %}
        {% if field in bar_fields %}
        cast(
            case
                when tape.symbol is null and coalesce(bars.trade_count, 0) = 0 then 0
                else {{ bar_fields[field][0] }}
            end as double
        ) as {{ field }}_a,
        cast({{ bar_fields[field][1] }} as double) as {{ field }}_b,
        {% else %}
        cast(null as double) as {{ field }}_a,
        cast(null as double) as {{ field }}_b,
        {% endif %}
        {% endfor %}
        case
            when bars.symbol is null then 'only_in_a'
            when tape.symbol is null and bars.trade_count > 0 then 'only_in_b'
            when tape.has_hole then 'ids_missing'
            when tape.n_bad > 0 then 'bad_ticks'
            when bars.defect is not null then bars.defect
            when bars.volume = 0 and tape.base_volume > 0 then 'flat_in_b'
            when tape.raw_trade_count < bars.trade_count then 'trades_not_aggregated'
            else 'values_differ'
        end as cause
    from tape
    full outer join {{ bars }} as bars
        on
            tape.symbol = bars.symbol
            and tape.hour_ts = bars.hour_ts
),

{% endfor %}
-- The lists of sizes leave out a side without a trade.
sizes_against_ticks as (
    select
        'sizes_against_ticks' as check_name,
        'agg_trade_sizes_1h' as dataset_a,
        'agg_trades_1m' as dataset_b,
        coalesce(tape.symbol, classes.symbol) as symbol,
        coalesce(tape.hour_ts, classes.hour_ts) as ts,
        {% for field in fields %}
        {% if field in size_fields %}
        cast(
            case
                when classes.symbol is not null or tape.trade_count = 0
                    then coalesce({{ size_fields[field][0] }}, 0)
            end as double
        ) as {{ field }}_a,
        cast({{ size_fields[field][1] }} as double) as {{ field }}_b,
        {% else %}
        cast(null as double) as {{ field }}_a,
        cast(null as double) as {{ field }}_b,
        {% endif %}
        {% endfor %}
        case
            when tape.symbol is null then 'only_in_a'
            when classes.symbol is null and tape.trade_count > 0 then 'only_in_b'
            else 'values_differ'
        end as cause
    from tape
    full outer join classes
        on
            tape.symbol = classes.symbol
            and tape.hour_ts = classes.hour_ts
),

ticks_kept_against_minutes as (
    select
        'ticks_kept_against_minutes' as check_name,
        'agg_trades' as dataset_a,
        'agg_trades_1m' as dataset_b,
        coalesce(tape.symbol, kept.symbol) as symbol,
        coalesce(tape.hour_ts, kept.hour_ts) as ts,
        {% for field in fields %}
        {% if field in kept_fields %}
        cast({{ kept_fields[field][0] }} as double) as {{ field }}_a,
        cast({{ kept_fields[field][1] }} as double) as {{ field }}_b,
        {% else %}
        cast(null as double) as {{ field }}_a,
        cast(null as double) as {{ field }}_b,
        {% endif %}
        {% endfor %}
        case
            when tape.symbol is null then 'only_in_a'
            when kept.symbol is null then 'only_in_b'
            else 'values_differ'
        end as cause
    from kept_tape as tape
    full outer join kept
        on
            tape.symbol = kept.symbol
            and tape.hour_ts = kept.hour_ts
),

united as (
    select * from ticks_against_minutes
    union all
    select * from ticks_against_hours
    union all
    select * from sizes_against_ticks
    union all
    select * from ticks_kept_against_minutes
),

judged as (
    select
        *,
        cause in ('only_in_a', 'only_in_b')
        {% for field in fields %}
        or ({{ field }}_a is null) <> ({{ field }}_b is null)
        or coalesce(
            abs({{ field }}_a - {{ field }}_b)
            > {{ tolerance }} * greatest(abs({{ field }}_a), abs({{ field }}_b)),
            false
        )
        {% endfor %} as is_different
    from united
),

-- Values are kept where they are needed.
final as (
    select
        check_name,
        dataset_a,
        dataset_b,
        symbol,
        ts,
        {% for field in fields %}
        case when is_different then {{ field }}_a end as {{ field }}_a,
        case when is_different then {{ field }}_b end as {{ field }}_b,
        {% endfor %}
        case when is_different then cause end as cause,
        is_different
    from judged
)

select * from final
