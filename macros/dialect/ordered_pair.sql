{% macro ordered_pair(first, second) %}
    {{- return(adapter.dispatch('ordered_pair')(first, second)) -}}
{% endmacro %}

{% macro default__ordered_pair(first, second) -%}
    row({{ first }}, {{ second }})
{%- endmacro %}

{% macro spark__ordered_pair(first, second) -%}
    struct({{ first }}, {{ second }})
{%- endmacro %}
