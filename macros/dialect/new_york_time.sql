{% macro new_york_time(ts) %}
    {{- return(adapter.dispatch('new_york_time')(ts)) -}}
{% endmacro %}

{% macro default__new_york_time(ts) -%}
    timezone('America/New_York', timezone('UTC', {{ ts }}))
{%- endmacro %}

{% macro spark__new_york_time(ts) -%}
    from_utc_timestamp({{ ts }}, 'America/New_York')
{%- endmacro %}
