{% macro landed_months(inputs) %}
    {%- set query -%}
        select
            month,
            count(*) || ' landings, ' || coalesce(sum(rows_out), 0) || ' rows, last '
            || max(log_seq) || ' at ' || max(landed_at) as state
        from {{ source('lake', 'landing_log') }}
        where
            status = 'landed'
            and source || '/' || dataset in ('{{ inputs | join("', '") }}')
        group by month
        order by month
    {%- endset -%}
    {{ return(run_query(query).rows) }}
{% endmacro %}
