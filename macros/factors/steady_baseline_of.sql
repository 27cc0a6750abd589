{#- Squares above the limit could overflow; a frame with one of them falls back to the engine's own
    deviation. -#}
{% macro steady_baseline_of(x, window, name, scale) -%}
    {%- set limit = '%.0e' | format(steady_limit(scale)) -%}
    {{ baseline_of(x, window, name) }},
        {{ exact_sum(x ~ ' * ' ~ x, 'abs(' ~ x ~ ') < ' ~ limit, scale, window) }}
            as {{ name }}_squares
{%- endmacro %}
