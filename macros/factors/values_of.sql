{% macro values_of(x, window) -%}
    {{ vector_of(x) }} filter (where {{ x }} is not null) over {{ window }}
{%- endmacro %}
