{% test sum_reconciles(model, measure, other_model, other_measure, condition, other_condition) %}

    with
    here as (
        select
            symbol,
            sum({{ measure }}) as total
        from {{ model }}
        where
            hour_ts >= timestamp '{{ untested_placeholder() }}'
            and {{ condition }}
        group by symbol
    ),

    there as (
        select
            symbol,
            sum({{ other_measure }}) as total
        from {{ other_model }}
        where
            month >= substr('{{ untested_placeholder() }}', 1, 7)
            and hour_ts >= timestamp '{{ untested_placeholder() }}'
            and {{ other_condition }}
        group by symbol
    )

    select
        coalesce(here.symbol, there.symbol) as symbol,
        here.total as total_here,
        there.total as total_there
    from here
    full outer join there on here.symbol = there.symbol
    where
        abs(coalesce(here.total, 0) - coalesce(there.total, 0))
        > 1e-9 * greatest(abs(coalesce(here.total, 0)), abs(coalesce(there.total, 0)))

{% endtest %}
