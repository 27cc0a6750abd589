{% macro correlation(x, y, min_pairs=40) -%}
    case
            when {{ vector_size(x) }} >= {{ min_pairs }}
                then {{ vector_dot(x, y) }}
                / nullif(sqrt({{ vector_dot(x, x) }} * {{ vector_dot(y, y) }}), 0e0)
        end
{%- endmacro %}
