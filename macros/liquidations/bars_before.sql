{#- A calendar frame: bars that no feed covers are not rows of it. -#}
{% macro bars_before(hours, minutes, include_row) -%}
    partition by symbol, listing_segment
            order by bar_ts nulls last
            range between interval '{{ hours * 60 - (minutes if include_row else 0) }}' minute preceding
            and {{ 'current row' if include_row else "interval '" ~ minutes ~ "' minute preceding" }}
{%- endmacro %}
