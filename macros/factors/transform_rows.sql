{% macro transform_rows() %}
    {%- set found = [] -%}
    {%- for line in var('transforms') -%}
        {%- for name in line.transforms if name[-1] in '0123456789' -%}
            {%- do found.append(name[name.rstrip('0123456789') | length:] | int) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{- return(found | unique | sort) -}}
{% endmacro %}
