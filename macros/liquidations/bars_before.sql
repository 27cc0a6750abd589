{% macro bars_before(hours, minutes, include_row) -%}
    {%- set n = hours * 60 // minutes -%}
    partition by symbol, listing_segment
            order by bar_ts nulls last
            rows between {{ n - 1 if include_row else n }} preceding
            and {{ 'current row' if include_row else '1 preceding' }}
{%- endmacro %}
