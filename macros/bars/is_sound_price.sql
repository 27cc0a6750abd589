{% macro is_sound_price() -%}
    coalesce(close > 0 and {{ is_finite('close') }}, false)
{%- endmacro %}
