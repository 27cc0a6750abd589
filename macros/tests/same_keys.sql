{% test same_keys(model, other_model, columns) %}

    {% set key = columns | join(', ') %}
    {% set here, there = untested(model), untested(other_model) %}
    {% if here == model | string or there == other_model | string %}
        {% set here, there = model, other_model %}
    {% endif %}

    (
        select {{ key }} from {{ here }}
        except
        select {{ key }} from {{ there }}
    )
    union all
    (
        select {{ key }} from {{ there }}
        except
        select {{ key }} from {{ here }}
    )

{% endtest %}
