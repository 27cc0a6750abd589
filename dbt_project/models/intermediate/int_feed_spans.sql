{#- What the log says of completeness: adjoining and overlapping spans become one. -#}
with
partitions as (
    select * from {{ ref('stg_lake__landing_log') }}
    where is_current
),

exploded as (
    select
        source,
        dataset,
        symbol,
        {{ explode('covered') }} as span
    from partitions
),

spans as (
    select
        source,
        dataset,
        symbol,
        cast({{ vector_item('span', 1) }} as timestamp) as span_start,
        cast({{ vector_item('span', 2) }} as timestamp) as span_end
    from exploded
),

joined as (
    select
        *,
        case
            when
                max(span_end) over (
                    partition by source, dataset, symbol
                    order by span_start nulls last, span_end nulls last
                    rows between unbounded preceding and 1 preceding
                ) >= span_start
                then 0
            else 1
        end as is_start
    from spans
),

numbered as (
    select
        *,
        sum(is_start) over (
            partition by source, dataset, symbol
            order by span_start nulls last, span_end nulls last
            rows between unbounded preceding and current row
        ) as island
    from joined
),

final as (
    select
        source,
        dataset,
        symbol,
        min(span_start) as span_start,
        max(span_end) as span_end
    from numbered
    group by source, dataset, symbol, island
)

select * from final
