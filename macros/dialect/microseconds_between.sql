{% macro microseconds_between(start_ts, end_ts) %}
    {{- return(adapter.dispatch('microseconds_between')(start_ts, end_ts)) -}}
{% endmacro %}

{% macro default__microseconds_between(start_ts, end_ts) -%}
    date_diff('microsecond', {{ start_ts }}, {{ end_ts }})
{%- endmacro %}

{% macro spark__microseconds_between(start_ts, end_ts) -%}
    timestampdiff(microsecond, {{ start_ts }}, {{ end_ts }})
{%- endmacro %}
