{% macro create_from_python(relation, code) %}
    {{- return(adapter.dispatch('create_from_python')(relation, code)) -}}
{% endmacro %}

{% macro default__create_from_python(relation, code) -%}
    {{ create_table_as(False, relation, code, 'python') }}
{%- endmacro %}

{% macro spark__create_from_python(relation, code) -%}
{{ py_write_table(code, relation) }}
{%- endmacro %}
