{% test unique_combination_of_columns(model, columns) %}

    {% set key = columns | join(', ') %}

    select
        {{ key }},
        count(*) as n_rows
    from {{ model }}
    group by {{ key }}
    having count(*) > 1

{% endtest %}
