{% macro rank_of(x, window, min_rows) -%}
    case
            when {{ x }} is not null and count({{ x }}) over {{ window }} >= {{ min_rows }}
                then {{ n_smaller(x, window) }} / nullif(count({{ x }}) over {{ window }} - 1e0, 0e0)
        end
{%- endmacro %}
