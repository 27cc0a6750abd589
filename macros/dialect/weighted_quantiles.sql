{% macro weighted_quantiles(rising, weights, total_weight, percents) %}
    {{- return(adapter.dispatch('weighted_quantiles')(rising, weights, total_weight, percents)) -}}
{% endmacro %}

{#- One walk from the smallest value up: until the weight gone by reaches a threshold, the value at hand
    is the candidate for its quantile. -#}
{% macro default__weighted_quantiles(rising, weights, total_weight, percents) -%}
    list_reduce(
            list_transform(list_zip({{ rising }}, {{ weights }}), lambda e: {
                {%- for p in percents %}'p{{ p }}': e[1], {% endfor %}'gone': e[2]
            }),
            lambda s, e: {
                {%- for p in percents %}
                'p{{ p }}': case
                    when s.gone < ({{ p }}e-2 - 1e-12) * {{ total_weight }} then e.p{{ p }} else s.p{{ p }}
                end,
                {%- endfor %}
                'gone': s.gone + e.gone
            }
        )
{%- endmacro %}

{% macro spark__weighted_quantiles(rising, weights, total_weight, percents) -%}
    aggregate(
            arrays_zip({{ rising }} as value, {{ weights }} as weight),
            named_struct(
                {%- for p in percents %}'p{{ p }}', cast(null as double), {% endfor %}'gone', 0e0
            ),
            (s, e) -> named_struct(
                {%- for p in percents %}
                'p{{ p }}', case
                    when s.gone < ({{ p }}e-2 - 1e-12) * {{ total_weight }} then e.value else s.p{{ p }}
                end,
                {%- endfor %}
                'gone', s.gone + e.weight
            )
        )
{%- endmacro %}
