{% macro factor_columns(dataset) %}
    {%- set numbers = [] -%}
    {%- if execute -%}
        {%- set built = load_relation(dataset) -%}
        {%- if built -%}
            {%- for column in adapter.get_columns_in_relation(built) -%}
                {%- do numbers.append((column.name, column.dtype | lower)) -%}
            {%- endfor -%}
        {%- else -%}
            {%- set listed = graph.nodes['model.' ~ project_name ~ '.' ~ dataset.identifier].columns -%}
            {%- for column in listed.values() -%}
                {%- do numbers.append((column.name, column.data_type)) -%}
            {%- endfor -%}
        {%- endif -%}
    {%- endif -%}
    {%- set factors = [] -%}
    {%- for name, type in numbers -%}
        {%- if type in ('double', 'int', 'integer', 'bigint') and name not in var('not_factors') -%}
            {%- do factors.append(name) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(factors) }}
{% endmacro %}
