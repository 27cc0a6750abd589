{% macro n_smaller(x, window) %}
    {{- return(adapter.dispatch('n_smaller')(x, window)) -}}
{% endmacro %}

{% macro default__n_smaller(x, window) -%}
    (rank(order by {{ x }} asc nulls last) over {{ window }} - 1)
{%- endmacro %}

{% macro spark__n_smaller(x, window) -%}
    size(filter(collect_list({{ x }}) over {{ window }}, v -> v < {{ x }}))
{%- endmacro %}
