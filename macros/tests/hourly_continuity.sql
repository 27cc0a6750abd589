{% test hourly_continuity(model) %}

    with
    steps as (
        select
            symbol,
            listing_segment,
            hour_ts,
            lag(hour_ts) over (
                partition by symbol, listing_segment order by hour_ts nulls last
            ) as previous_hour_ts
        from {{ untested(model) }}
    )

    select *
    from steps
    where hour_ts <> previous_hour_ts + interval '1' hour

{% endtest %}
