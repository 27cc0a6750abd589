{#- The API's moments on the labels that metrics are counted by: see int_api_metrics. -#}
{%- set start_labels_from = "timestamp '" ~ var('metrics_start_labels_from') ~ "'" -%}

with
spans as (
    select * from {{ ref('int_feed_spans') }}
    where source = 'api'
),

datasets as (
    select * from {{ ref('datasets') }}
),

final as (
    select
        spans.dataset,
        spans.symbol,
        spans.span_start,
        spans.span_end
    from spans
    inner join datasets on spans.dataset = datasets.dataset
    union all
    select
        'metrics' as dataset,
        symbol,
        case
            when span_start > {{ start_labels_from }} then span_start - interval '5' minute
            else span_start
        end as span_start,
        case
            when span_end > {{ start_labels_from }} then span_end - interval '5' minute
            else span_end
        end as span_end
    from spans
    where dataset = 'open_interest_5m'
)

select * from final
where span_start < span_end
