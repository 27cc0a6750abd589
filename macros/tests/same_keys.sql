{% test same_keys(model, other_model, columns) %}

    {% set key = columns | join(', ') %}

    (
        select {{ key }} from {{ model }}
        except
        select {{ key }} from {{ other_model }}
    )
    union all
    (
        select {{ key }} from {{ other_model }}
        except
        select {{ key }} from {{ model }}
    )

{% endtest %}
