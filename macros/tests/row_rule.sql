{% test row_rule(model, expression) %}

    select *
    from {{ model }}
    where not ({{ expression }})

{% endtest %}
