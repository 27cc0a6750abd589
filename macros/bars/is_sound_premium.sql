{% macro is_sound_premium() -%}
    coalesce(
            {{ is_finite('open') }}
            and {{ is_finite('high') }}
            and {{ is_finite('low') }}
            and {{ is_finite('close') }},
            false
        )
{%- endmacro %}
