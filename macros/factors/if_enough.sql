{% macro if_enough(x, least) -%}
    case when {{ x }} >= {{ least }} then {{ x }} end
{%- endmacro %}
