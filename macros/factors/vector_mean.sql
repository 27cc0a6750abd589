{% macro vector_mean(vector) -%}
    case
            when {{ vector_min(vector) }} = {{ vector_max(vector) }} then {{ vector_min(vector) }}
            else {{ vector_sum(vector) }} / nullif({{ vector_size(vector) }}, 0)
        end
{%- endmacro %}
