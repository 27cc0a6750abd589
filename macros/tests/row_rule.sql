{% test row_rule(model, expression) %}

    select *
    from {{ untested(model) }}
    where not ({{ expression }})

{% endtest %}
