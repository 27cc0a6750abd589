{{ config(materialized='monthly_by_content') }}

{%- set horizons = [1, 4, 24] -%}
{%- set min_symbols = var('ic_min_symbols') -%}
{%- set factors = factor_columns(ref('final_dataset')) -%}
{%- set names = affixed(factors, "'", "'") -%}
{%- set vectors = affixed(factors, 'x_') -%}
{%- set ics = affixed(horizons, 'ic_', 'h') -%}
{%- set counts = affixed(horizons, 'n_', 'h') -%}
{%- set labels = affixed(horizons, 'labels.y_', 'h') -%}

with
dataset as (
    select * from {{ ref('final_dataset') }}
),

labels as (
    select * from {{ ref('forward_returns_hourly') }}
),

-- An hour becomes a row: a vector of labels for each horizon and one of values for each factor, all
-- in the same order of symbols. NaN stands for NULL, which a vector may not hold.
panel as (
    select
        {% for hours in horizons %}
        {{ vector_of(
            'coalesce(labels.y_' ~ hours ~ "h, cast('NaN' as double))"
        ) }} as y_{{ hours }}h,
        {% endfor %}
        {% for factor in factors %}
        {{ vector_of(
            'coalesce(cast(dataset.' ~ factor ~ " as double), cast('NaN' as double))"
        ) }} as x_{{ factor }},
        {% endfor %}
        dataset.hour_ts
    from dataset
    inner join labels
        on
            dataset.symbol = labels.symbol
            and dataset.hour_ts = labels.hour_ts
    where
        {{ in_month('dataset.hour_ts') }}
        -- a symbol without a label says nothing
        and coalesce({{ labels | join(', ') }}) is not null
    group by dataset.hour_ts
),

-- Where the labels stand in rising order, once for all factors.
ordered as (
    select
        {% for hours in horizons %}
        {%- set y = 'y_' ~ hours ~ 'h' %}
        {{ vector_sorted_by(
            vector_filter(vector_positions(y), 'i', is_finite(vector_item(y, 'i'))),
            vector_filter(y, 'e', is_finite('e'))
        ) }} as order_{{ hours }}h,
        {% endfor %}
        *
    from panel
),

labelled as (
    select
        {% for hours in horizons %}
        {%- set in_order = vector_pick('y_' ~ hours ~ 'h', 'order_' ~ hours ~ 'h') %}
        {{ vector_size(vector_distinct(in_order)) }} < {{ vector_size(in_order) }}
            as has_ties_{{ hours }}h,
        {% endfor %}
        *
    from ordered
),

exploded as (
    select
        hour_ts,
        {% for hours in horizons %}
        y_{{ hours }}h,
        order_{{ hours }}h,
        has_ties_{{ hours }}h,
        {% endfor %}
        {{ unpivot_columns({'factor': names, 'x': vectors}) }}
    from labelled
),

sorted as (
    select
        *,
        {{ vector_sorted(vector_filter('x', 'e', is_finite('e'))) }} as rising
    from exploded
),

turned as (
    select
        *,
        {{ vector_reversed('rising') }} as falling
    from sorted
    where {{ vector_size('rising') }} >= {{ min_symbols }}
),

ranked as (
    select
        *,
        cast({{ vector_size('rising') }} as double) as n_values,
        {{ centred_ranks('x', 'rising', 'falling', 'e') }} as ranks
    from turned
),

-- What has both, in the order of the labels.
kept as (
    select
        {% for hours in horizons %}
        {{ vector_filter(
            'order_' ~ hours ~ 'h', 'i', is_finite(vector_item('x', 'i'))
        ) }} as kept_{{ hours }}h,
        {% endfor %}
        *
    from ranked
),

paired as (
    select
        {% for hours in horizons %}
        cast({{ vector_size('kept_' ~ hours ~ 'h') }} as double) as n_{{ hours }}h,
        {{ vector_pick('ranks', 'kept_' ~ hours ~ 'h') }} as ranks_{{ hours }}h,
        {% endfor %}
        *
    from kept
),

-- The ranks of the labels are 1, 2, 3 and so on, unless there are ties among them; those of the
-- factor stand, unless a value lacks its label. Else both are ranked anew.
correlated as (
    select
        {% for hours in horizons %}
        {%- set kept = 'kept_' ~ hours ~ 'h' %}
        {%- set ranks = 'ranks_' ~ hours ~ 'h' %}
        {%- set n = 'n_' ~ hours ~ 'h' %}
        {{ n }},
        case
            when {{ n }} < {{ min_symbols }} then null
            when {{ n }} < n_values or has_ties_{{ hours }}h
                then {{ rank_correlation(
                    vector_pick('x', kept), vector_pick('y_' ~ hours ~ 'h', kept)
                ) }}
            else
                2e0 * {{ vector_dot(
                    ranks, vector_map(vector_positions(ranks), 'i', 'cast(i as double)')
                ) }} / nullif(
                    sqrt(
                        {{ vector_dot(ranks, ranks) }}
                        * {{ n }} * ({{ n }} * {{ n }} - 1e0) / 3e0
                    ), 0e0
                )
        end as ic_{{ hours }}h,
        {% endfor %}
        factor
    from paired
),

-- An hour of one factor and horizon.
hourly as (
    select
        factor,
        {{ unpivot_columns({
            'horizon_hours': horizons, 'ic': ics, 'n_symbols': counts
        }) }}
    from correlated
),

monthly as (
    select
        factor,
        horizon_hours,
        avg(ic) as mean_ic,
        stddev_samp(ic) as std_ic,
        count(ic) as n_hours,
        avg(case when ic is not null then n_symbols end) as mean_n_symbols
    from hourly
    group by factor, horizon_hours
),

bounds as (
    select min(hour_ts) as first_hour_ts
    from dataset
    where {{ in_month('hour_ts') }}
),

factors as (
    select
        date_trunc('month', first_hour_ts) + interval '1' month as month_end,
        {{ explode(vector_literal(names | join(', '))) }} as factor
    from bounds
),

cells as (
    select
        factor,
        month_end,
        {{ explode(vector_literal(horizons | join(', '))) }} as horizon_hours
    from factors
),

final as (
    select
        cast(cells.factor as string) as factor,
        cast(cells.horizon_hours as int) as horizon_hours,
        cast(monthly.mean_ic as double) as mean_ic,
        cast(monthly.std_ic as double) as std_ic,
        cast(monthly.mean_ic / nullif(monthly.std_ic, 0) as double) as ir,
        cast(
            monthly.mean_ic / nullif(monthly.std_ic, 0)
            * sqrt(monthly.n_hours / cast(cells.horizon_hours as double)) as double
        ) as t_value,
        cast(coalesce(monthly.n_hours, 0) as int) as n_hours,
        cast(monthly.mean_n_symbols as double) as mean_n_symbols,
        cast(
            cells.month_end
            + cells.horizon_hours * interval '1' hour
            + interval '1' millisecond as timestamp
        ) as known_at
    from cells
    left join monthly
        on
            cells.factor = monthly.factor
            and cells.horizon_hours = monthly.horizon_hours
)

select * from final
