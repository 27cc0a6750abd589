{% test all_floats_finite(model) %}

    {% set ns = namespace(floats=[]) %}
    {% if execute %}
        {% for column in adapter.get_columns_in_relation(model) %}
            {% if column.dtype | lower in ('double', 'float') %}
                {% do ns.floats.append(column.name) %}
            {% endif %}
        {% endfor %}
    {% endif %}

    select *
    from {{ untested(model) }}
    where
        false
        {% for name in ns.floats %}
            or not {{ is_finite(name) }}
        {% endfor %}

{% endtest %}
