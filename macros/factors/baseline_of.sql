{% macro baseline_of(x, window, name) -%}
    count({{ x }}) over {{ window }} as {{ name }}_n,
        {{ exact_sum(x, window=window) }} as {{ name }}_sum,
        stddev_samp({{ x }}) over {{ window }} as {{ name }}_std,
        min({{ x }}) over {{ window }} as {{ name }}_min,
        max({{ x }}) over {{ window }} as {{ name }}_max
{%- endmacro %}
