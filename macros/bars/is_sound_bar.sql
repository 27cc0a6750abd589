{% macro is_sound_bar() -%}
    coalesce(
            open > 0
            and low > 0
            and high >= low
            and open between low and high
            and close between low and high
            and {{ is_finite('high') }},
            false
        )
{%- endmacro %}
