{#- The last hours of a month have their returns in the next. -#}
{{ config(meta={'months_after': 1}) }}
{%- set horizons = [1, 4, 24] -%}

with
bars as (
    select * from {{ ref('hourly_bars') }}
),

followed as (
    select
        symbol,
        hour_ts,
        {% for hours in horizons %}
        lead(close, {{ hours }}) over (
            partition by symbol, listing_segment order by hour_ts nulls last
        ) as close_in_{{ hours }}h,
        {% endfor %}
        close,
        feature_time
    from bars
),

final as (
    select
        symbol,
        hour_ts,
        {% for hours in horizons %}
        {{ finite(log_ratio('close_in_' ~ hours ~ 'h', 'close')) }} as y_{{ hours }}h,
        {% endfor %}
        {% for hours in horizons %}
        feature_time + interval '{{ hours }}' hour as known_at_{{ hours }}h,
        {% endfor %}
        feature_time
    from followed
)

select * from final
