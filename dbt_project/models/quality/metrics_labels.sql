{#- Open interest value divided by open interest is a price. The moment whose price it is tells whether
    a file labels its rows by the end or by the start of the five minutes. -#}
with
metrics as (
    select * from {{ ref('stg_vision__metrics') }}
),

minutes as (
    select * from {{ ref('stg_vision__klines_1m') }}
),

implied as (
    select
        symbol,
        file_date,
        bucket_ts,
        {{ safe_div('open_interest_usd', 'open_interest') }} as price
    from metrics
    where is_bucket_pick
),

compared as (
    select
        implied.symbol,
        implied.file_date,
        abs({{ safe_ln('implied.price / at_label.open') }}) as error_at_label,
        abs({{ safe_ln('implied.price / after_label.open') }}) as error_after_label
    from implied
    left join minutes as at_label
        on
            implied.symbol = at_label.symbol
            and implied.bucket_ts = at_label.open_time
    left join minutes as after_label
        on
            implied.symbol = after_label.symbol
            and implied.bucket_ts + interval '5' minute = after_label.open_time
),

measured as (
    select
        symbol,
        file_date,
        sum(
            case when error_at_label is not null and error_after_label is not null then 1 else 0 end
        ) as n_compared,
        avg(case when error_after_label is not null then error_at_label end) as error_at_label,
        avg(case when error_at_label is not null then error_after_label end) as error_after_label
    from compared
    group by symbol, file_date
),

final as (
    select
        cast(symbol as string) as symbol,
        cast(file_date as date) as file_date,
        cast(n_compared as int) as n_compared,
        cast(error_at_label as double) as error_at_label,
        cast(error_after_label as double) as error_after_label,
        cast(
            case
                when n_compared < 12 then 'undetermined'
                when error_at_label < 0.8e0 * error_after_label then 'period_end'
                when error_after_label < 0.8e0 * error_at_label then 'period_start'
                else 'undetermined'
            end as string
        ) as convention
    from measured
)

select * from final
