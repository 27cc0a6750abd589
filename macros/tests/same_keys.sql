{% test same_keys(model, other_model, columns) %}

    {% set key = columns | join(', ') %}

    (
        select {{ key }} from {{ untested(model) }}
        except
        select {{ key }} from {{ untested(other_model) }}
    )
    union all
    (
        select {{ key }} from {{ untested(other_model) }}
        except
        select {{ key }} from {{ untested(model) }}
    )

{% endtest %}
