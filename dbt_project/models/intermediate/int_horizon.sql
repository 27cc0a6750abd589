{%- set override = var('horizon') -%}

with
hours as (
    select * from {{ ref('int_klines_hourly') }}
),

final as (
    select
        coalesce(
            cast({{ "'" ~ override ~ "'" if override is not none else 'null' }} as timestamp),
            date_trunc('hour', max(last_open_time) + interval '1' minute)
        ) as horizon_ts
    from hours
)

select * from final
