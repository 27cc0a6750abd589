{% macro quantile_positions(weights, total_weight, percents) %}
    {{- return(adapter.dispatch('quantile_positions')(weights, total_weight, percents)) -}}
{% endmacro %}

{#- One walk from the smallest value up counts, for every quantile, the values that it has to leave
    behind: those before which less than the wanted weight has gone by. -#}
{% macro default__quantile_positions(weights, total_weight, percents) -%}
    list_extract(list_transform(
            [list_reduce(
                list_transform({{ weights }}, lambda w: struct_pack(
                    {% for p in percents %}p{{ p }} := 1, {% endfor %}gone := w
                )),
                lambda s, e: struct_pack(
                    {% for p in percents %}
                    p{{ p }} := s.p{{ p }} + case
                        when s.gone < ({{ p }}e-2 - 1e-12) * {{ total_weight }} then 1 else 0
                    end,
                    {% endfor %}
                    gone := s.gone + e.gone
                )
            )],
            lambda s: [{% for p in percents %}s.p{{ p }}{{ ', ' if not loop.last }}{% endfor %}]
        ), 1)
{%- endmacro %}

{% macro spark__quantile_positions(weights, total_weight, percents) -%}
    aggregate(
            {{ weights }},
            named_struct(
                {% for p in percents %}'p{{ p }}', 0, {% endfor %}'gone', 0e0
            ),
            (s, w) -> named_struct(
                {% for p in percents %}
                'p{{ p }}', s.p{{ p }} + case
                    when s.gone < ({{ p }}e-2 - 1e-12) * {{ total_weight }} then 1 else 0
                end,
                {% endfor %}
                'gone', s.gone + w
            ),
            s -> array({% for p in percents %}s.p{{ p }}{{ ', ' if not loop.last }}{% endfor %})
        )
{%- endmacro %}
