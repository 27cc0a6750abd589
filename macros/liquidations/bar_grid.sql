{% macro bar_grid(hours, minutes) -%}
    select
        hours.*,
        hours.hour_ts + numbers.n * {{ minutes }} * interval '1' minute as bar_ts
    from {{ hours }} as hours
    cross join (select * from range(0, {{ 60 // minutes }})) as numbers (n)
{%- endmacro %}
