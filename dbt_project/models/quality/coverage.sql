{#- from the one that asks for least action to the one that asks for most -#}
{%- set reasons = [
    'before_listing',
    'after_delisting',
    'absent_upstream',
    'not_ingested',
    'quarantined',
    'failed',
] -%}

with
days as (
    select * from {{ ref('int_coverage_days') }}
),

pieces as (
    select * from {{ ref('int_missing_pieces') }}
),

settlements as (
    select * from {{ ref('int_funding_events') }}
),

horizon as (
    select * from {{ ref('int_horizon') }}
),

settlements_by_month as (
    select
        settlements.symbol,
        substr(cast(cast(settlements.settle_time as date) as string), 1, 7) as month,
        count(*) as n_present,
        sum(case when settlements.source = 'api' then 1 else 0 end) as n_from_api
    from settlements
    cross join horizon
    where settlements.settle_time < horizon.horizon_ts
    group by settlements.symbol, substr(cast(cast(settlements.settle_time as date) as string), 1, 7)
),

months as (
    select
        dataset,
        slot,
        symbol,
        substr(cast(day as string), 1, 7) as month,
        sum(n_slots) as n_slots,
        sum(n_present) as n_present,
        sum(n_from_api) as n_from_api,
        count(*) as n_days,
        sum(case when has_file then 1 else 0 end) as n_covered_days
    from days
    group by dataset, slot, symbol, substr(cast(day as string), 1, 7)
),

missing as (
    select
        dataset,
        symbol,
        substr(cast(day as string), 1, 7) as month,
        sum(n_slots) as n_missing,
        {% for reason in reasons %}
        sum(case when reason = '{{ reason }}' then n_slots else 0 end) as n_{{ reason }},
        {% endfor %}
        max(
            case reason
                {% for reason in reasons %}
                when '{{ reason }}' then {{ loop.index }}
                {% endfor %}
            end
        ) as reason_rank
    from pieces
    group by dataset, symbol, substr(cast(day as string), 1, 7)
),

joined as (
    select
        months.dataset,
        months.symbol,
        months.month,
        months.slot,
        case
            when months.slot = 'daily file' then months.n_days
            when
                months.dataset = 'funding_rate'
                then coalesce(settlements_by_month.n_present, 0) + coalesce(missing.n_missing, 0)
            else months.n_slots
        end as n_expected,
        case
            when months.slot = 'daily file' then months.n_covered_days
            when months.dataset = 'funding_rate' then coalesce(settlements_by_month.n_present, 0)
            else months.n_present
        end as n_present,
        case
            when months.dataset = 'funding_rate' then coalesce(settlements_by_month.n_from_api, 0)
            else months.n_from_api
        end as n_from_api,
        coalesce(missing.n_missing, 0) as n_missing,
        {% for reason in reasons %}
        coalesce(missing.n_{{ reason }}, 0) as n_{{ reason }},
        {% endfor %}
        case missing.reason_rank
            {% for reason in reasons %}
            when {{ loop.index }} then '{{ reason }}'
            {% endfor %}
        end as reason
    from months
    left join missing
        on
            months.dataset = missing.dataset
            and months.symbol = missing.symbol
            and months.month = missing.month
    left join settlements_by_month
        on
            months.dataset = 'funding_rate'
            and months.symbol = settlements_by_month.symbol
            and months.month = settlements_by_month.month
),

final as (
    select
        cast(dataset as string) as dataset,
        cast(symbol as string) as symbol,
        cast(month as string) as month,
        cast(slot as string) as slot,
        cast(n_expected as bigint) as n_expected,
        cast(n_present as bigint) as n_present,
        cast(n_from_api as bigint) as n_from_api,
        cast(n_missing as bigint) as n_missing,
        {% for reason in reasons %}
        cast(n_{{ reason }} as bigint) as n_{{ reason }},
        {% endfor %}
        cast(reason as string) as reason,
        cast(
            n_present / nullif(cast(n_expected - n_before_listing - n_after_delisting as double), 0)
            as double
        ) as coverage_ratio
    from joined
)

select * from final
