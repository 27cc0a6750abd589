{% macro unpivot_columns(columns) %}
    {{- return(adapter.dispatch('unpivot_columns')(columns)) -}}
{% endmacro %}

{% macro default__unpivot_columns(columns) -%}
    {%- for name, expressions in columns.items() %}
    unnest([
            {{ expressions | join(',\n            ') }}
        ]) as {{ name }}{{ ',' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

{% macro spark__unpivot_columns(columns) -%}
    {%- set rows = [] -%}
    {%- for i in range((columns.values() | first) | length) -%}
        {%- for expressions in columns.values() -%} {%- do rows.append(expressions[i]) -%} {%- endfor -%}
    {%- endfor -%}
    stack(
            {{ (columns.values() | first) | length }},
            {{ rows | join(',\n            ') }}
        ) as ({{ columns.keys() | join(', ') }})
{%- endmacro %}
