{% macro vector_in_order(vector, minutes) -%}
    case
            when {{ minutes }} = {{ vector_range(0, 60) }} then {{ vector }}
            else {{ vector_sorted_by(vector, minutes) }}
        end
{%- endmacro %}
