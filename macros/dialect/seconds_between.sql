{% macro seconds_between(start_ts, end_ts) %}
    {{- return(adapter.dispatch('seconds_between')(start_ts, end_ts)) -}}
{% endmacro %}

{% macro default__seconds_between(start_ts, end_ts) -%}
    date_diff('second', {{ start_ts }}, {{ end_ts }})
{%- endmacro %}

{% macro spark__seconds_between(start_ts, end_ts) -%}
    (unix_seconds({{ end_ts }}) - unix_seconds({{ start_ts }}))
{%- endmacro %}
