{% macro hash_of(columns) %}
    {{- return(adapter.dispatch('hash_of')(columns)) -}}
{% endmacro %}

{% macro default__hash_of(columns) -%}
    hash({{ columns | join(', ') }})
{%- endmacro %}

{% macro spark__hash_of(columns) -%}
    xxhash64({{ columns | join(', ') }})
{%- endmacro %}
