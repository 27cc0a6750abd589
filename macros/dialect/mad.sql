{% macro mad(x, window) %}
    {{- return(adapter.dispatch('mad')(x, window)) -}}
{% endmacro %}

{% macro default__mad(x, window) -%}
    mad({{ x }}) over {{ window }}
{%- endmacro %}

{#- Spark has no such aggregate: the distances from the median are sorted, and of those in the middle,
    one or two, the mean is taken. -#}
{% macro spark__mad(x, window) -%}
    transform(
            transform(
                array(named_struct(
                    'v', collect_list({{ x }}) over {{ window }},
                    'm', percentile({{ x }}, 0.5) over {{ window }}
                )),
                s -> array_sort(transform(s.v, v -> abs(v - s.m)))
            ),
            d -> (
                get(d, cast(floor((size(d) - 1) / 2) as int)) + get(d, cast(floor(size(d) / 2) as int))
            ) / 2e0
        )[0]
{%- endmacro %}
