{% macro staged_klines(rows, is_valid, per_minute=false, traded=false) -%}
with
source as (
    select * from {{ rows }}
),

typed as (
    select
        cast(symbol as string) as symbol,
        cast(month as string) as month,
        cast(open_time as timestamp) as open_time,
        date_trunc('hour', cast(open_time as timestamp)) as hour_ts,
        {%- if per_minute %}
        cast(extract(minute from open_time) as int) as minute_of_hour,
        {%- endif %}
        cast(open as double) as open,
        cast(high as double) as high,
        cast(low as double) as low,
        cast(close as double) as close,
        {%- if traded %}
        cast(volume as double) as volume,
        cast(quote_volume as double) as quote_volume,
        cast(trade_count as bigint) as trade_count,
        cast(taker_buy_volume as double) as taker_buy_volume,
        cast(taker_buy_quote_volume as double) as taker_buy_quote_volume,
        {%- endif %}
        cast(close_time as timestamp) as close_time,
        {{ is_valid }} as is_valid
    from source
),

final as (
    select
        *
        {%- if traded %},
        is_valid and (coalesce(trade_count, 0) > 0 or coalesce(volume, 0) > 0) as is_active
        {%- endif %}
    from typed
)

select * from final
{%- endmacro %}
