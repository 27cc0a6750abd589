{% test never_null(model, columns) %}

    select *
    from {{ untested(model) }}
    where
        {% for column in columns %}
            {{ 'or ' if not loop.first }}{{ column }} is null
        {% endfor %}

{% endtest %}
