{%- set horizons = [1, 4, 24] -%}

with
bars as (
    select * from {{ ref('hourly_bars') }}
),

followed as (
    select
        symbol,
        hour_ts,
        feature_time,
        close,
        {% for hours in horizons %}
        lead(close, {{ hours }}) over (
            partition by symbol, listing_segment order by hour_ts nulls last
        ) as close_in_{{ hours }}h{{ ',' if not loop.last }}
        {% endfor %}
    from bars
),

final as (
    select
        symbol,
        hour_ts,
        feature_time,
        {% for hours in horizons %}
        {{ finite(log_ratio('close_in_' ~ hours ~ 'h', 'close')) }} as y_{{ hours }}h,
        {% endfor %}
        {% for hours in horizons %}
        feature_time + interval '{{ hours }}' hour as known_at_{{ hours }}h{{ ',' if not loop.last }}
        {% endfor %}
    from followed
)

select * from final
