{#- The last row with an open interest stands for its bucket, else the last one. -#}
{% macro metrics_rank(bucket) -%}
    row_number() over (
            partition by {{ bucket }}
            order by
                case when open_interest is null then 1 else 0 end nulls last,
                create_time desc nulls last,
                file_date desc nulls last,
                file_row desc nulls last
        )
{%- endmacro %}
