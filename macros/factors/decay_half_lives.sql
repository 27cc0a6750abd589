{% macro decay_half_lives() %}
    {%- set found = [] -%}
    {%- for name in transform_names() if transform_kind(name) in ('ewm', 'mem') -%}
        {%- do found.append(transform_rows(name)) -%}
    {%- endfor -%}
    {{- return(found | unique | sort) -}}
{% endmacro %}
