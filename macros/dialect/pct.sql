{% macro pct(x, q) %}
    {{- return(adapter.dispatch('pct')(x, q)) -}}
{% endmacro %}

{% macro default__pct(x, q) -%}
    quantile_cont({{ x }}, {{ q }})
{%- endmacro %}

{% macro spark__pct(x, q) -%}
    percentile({{ x }}, {{ q }})
{%- endmacro %}
